use super::{tests::*, *};

const HOUR: Duration = Duration::from_secs(3600);

const fn process(pid: u32) -> ProcessId {
    ProcessId::new(pid, 2000)
}

fn names(world: &World) -> Vec<String> {
    world.groups.totals().into_keys().collect()
}

/// Each in a group of its own.
fn live(world: &mut World, pids: impl IntoIterator<Item = u32>, prefix: &str) {
    for pid in pids {
        world.lives(process(pid), &format!("{prefix}{pid}"), 1);
    }
}

#[test]
fn names_have_an_end() {
    let mut world = World::new();
    live(&mut world, 1..=150, "g");
    world.tick();
    assert_eq!(names(&world).len(), MOST + 1);
    assert_eq!((world.of(OTHER).processes, world.of(OTHER).minor_faults), (50, 50));
}

#[test]
fn the_young_count_in_a_group_that_there_is() {
    let mut world = World::new();
    let (first, second) = (process(1), process(2));
    world.lives(first, "a", 10);
    world.living.get_mut(&first).expect("it lives").group.founds = false;
    world.tick();
    assert_eq!((names(&world), world.of(NEW).minor_faults), (vec![NEW.to_owned()], 10));
    world.lives(first, "a", 13);
    world.tick();
    world.lives(second, "a", 5);
    world.living.get_mut(&second).expect("it lives").group.founds = false;
    world.tick();
    assert_eq!((world.of(NEW).minor_faults, world.of(NEW).processes), (10, 0));
    assert_eq!((world.of("a").minor_faults, world.of("a").processes), (3 + 5, 2));
}

#[test]
fn the_young_take_no_room() {
    let mut world = World::new();
    live(&mut world, 1..=150, "g");
    world.living.values_mut().for_each(|live| live.group.founds = false);
    world.tick();
    live(&mut world, 200..=200, "old");
    world.tick();
    assert_eq!(names(&world), ["old200", NEW]);
}

#[test]
fn nobody_gets_a_group_by_a_reserved_name() {
    let mut world = World::new();
    live(&mut world, 1..=150, "~g");
    world.lives(process(200), ENDED, 1);
    world.tick();
    assert_eq!((names(&world), world.of(OTHER).processes), (vec![OTHER.to_owned()], 151));
}

#[test]
fn a_group_left_for_an_hour_gives_up_its_room_if_it_is_needed() {
    let mut world = World::new();
    live(&mut world, 1..=100, "g");
    world.tick();
    for pid in 1..=2 {
        world.calls(process(pid), u64::from(pid));
        world.ends(process(pid), 7);
    }
    // Twice to their end, and once more until they are forgotten.
    (0..3).for_each(|_| drop(world.tick()));
    world.now += HOUR - Duration::from_secs(30);
    live(&mut world, 200..=200, "late");
    world.tick();
    assert_eq!((world.of("g1").exits, world.of(OTHER).processes), (1, 1), "not yet");
    world.now += Duration::from_secs(60);
    world.tick();
    assert_eq!((world.of("late200").processes, world.of(OTHER).processes), (1, 0));
    let gone = names(&world).iter().filter(|name| ["g1", "g2"].contains(&name.as_str())).count();
    assert_eq!(gone, 1, "no more than is needed");
    live(&mut world, 201..=202, "late");
    world.tick();
    let ended = world.of(ENDED);
    assert_eq!((ended.minor_faults, ended.exits, ended.processes), (14, 2, 0));
    assert_eq!(ended.syscalls[&Syscall::Mmap].calls, 3);
    assert_eq!((names(&world).len(), world.of(OTHER).processes), (MOST + 2, 1));
}

#[test]
fn a_group_with_a_process_stays_however_old() {
    let mut world = World::new();
    live(&mut world, 1..=100, "g");
    world.tick();
    world.now += 24 * HOUR;
    live(&mut world, 200..=200, "late");
    world.tick();
    assert_eq!((world.of(OTHER).processes, world.of("g1").processes), (1, 1));
}

#[test]
fn after_a_reload_the_old_groups_make_way_for_the_new() {
    let mut world = World::new();
    live(&mut world, 1..=100, "old");
    world.tick();
    world.groups.regroup(MOST);
    live(&mut world, 1..=60, "new");
    world.tick();
    assert_eq!(world.of(OTHER).processes, 60, "their old groups were theirs until now");
    world.tick();
    assert_eq!((world.of(OTHER).processes, world.of("new60").processes), (0, 1));
    assert_eq!((world.of("old61").processes, world.of("old61").minor_faults), (1, 1));
    assert_eq!((world.of(ENDED).minor_faults, names(&world).len()), (60, MOST + 2));
}

#[test]
fn a_reload_that_changes_no_group_changes_nothing() {
    let mut world = World::new();
    live(&mut world, 1..=100, "g");
    world.tick();
    let before = world.groups.totals();
    world.groups.regroup(MOST);
    (0..3).for_each(|_| drop(world.tick()));
    assert_eq!(world.groups.totals(), before);
}

#[test]
fn with_less_room_the_groups_become_fewer() {
    let mut world = World::new();
    live(&mut world, 1..=100, "g");
    world.tick();
    world.groups.regroup(10);
    (0..3).for_each(|_| drop(world.tick()));
    assert_eq!(names(&world).len(), 10 + 2);
    assert_eq!((world.of(OTHER).processes, world.of(ENDED).minor_faults), (90, 90));
    world.groups.regroup(MOST);
    (0..3).for_each(|_| drop(world.tick()));
    assert_eq!((names(&world).len(), world.of(OTHER).processes), (MOST + 2, 0));
}
