use tracer_common::{ErrnoKey, FaultTime, Lifecycle, LookupCounts, SyscallCounter, SyscallKey};

use super::*;
use crate::aggregate::{cpu::CpuClass, cpu_by_process::CpuKey};

/// Groups that there is room for.
pub(super) const MOST: usize = 100;
/// The tracer began here.
const STARTED: u64 = 1000;
const OLD: ProcessId = ProcessId::new(7, 10);
const YOUNG: ProcessId = ProcessId::new(8, 1001);

/// A machine that changes between readings.
pub(super) struct World {
    pub(super) groups: Groups,
    pub(super) now: Duration,
    counters: Counters,
    pub(super) living: HashMap<ProcessId, Living>,
}

impl World {
    pub(super) fn new() -> Self {
        let measured =
            Measured { calls: vec![Syscall::Mmap], lookups: vec![Lookup::VmUnmappedArea] };
        Self {
            groups: Groups::new(STARTED, measured, MOST),
            now: Duration::ZERO,
            counters: Counters::default(),
            living: HashMap::new(),
        }
    }

    pub(super) fn lives(&mut self, id: ProcessId, group: &str, minor: u64) {
        let living = Living {
            start_ticks: id.start_ticks,
            group: Belongs { to: Arc::from(group), founds: true },
            faults: Faults { minor, major: 0 },
            areas: None,
        };
        self.living.insert(id, living);
    }

    pub(super) fn calls(&mut self, process: ProcessId, calls: u64) {
        let key = SyscallKey { process, syscall: Syscall::Mmap as u32, reserved: 0 };
        let mut counter = SyscallCounter {
            calls,
            failures: 0,
            bytes: calls * 4096,
            duration_ns: calls * 500,
            durations: Default::default(),
        };
        counter.durations[9] = calls;
        self.counters.syscalls.insert(key, counter);
    }

    pub(super) fn ends(&mut self, id: ProcessId, minor: u64) {
        self.living.remove(&id);
        let exits =
            ExitTotals { earlier_minor: 1, minor: minor - 1, dead: 1, ..ExitTotals::default() };
        self.counters.exits.insert(id, exits);
    }

    pub(super) fn tick(&mut self) -> Vec<ProcessId> {
        self.now += Duration::from_secs(5);
        let name = |_: Option<&ExitTotals>| Belongs { to: Arc::from("ended"), founds: true };
        let done = self.groups.apply(&self.counters, &self.living, self.now, name);
        for id in &done {
            self.counters.exits.remove(id);
            self.counters.lifecycles.remove(id);
            self.counters.syscalls.retain(|key, _| key.process != *id);
        }
        done
    }

    pub(super) fn of(&self, group: &str) -> GroupTotals {
        self.groups.totals().remove(group).expect("a group")
    }

    fn mmaps(&self, group: &str) -> u64 {
        self.of(group).syscalls[&Syscall::Mmap].calls
    }
}

#[test]
fn faults_before_the_tracer_belong_to_nobody_calls_cannot() {
    let mut world = World::new();
    world.lives(OLD, "a", 500);
    world.lives(YOUNG, "a", 30);
    world.calls(OLD, 4);
    world.tick();
    assert_eq!((world.of("a").minor_faults, world.mmaps("a")), (30, 4));
    world.lives(OLD, "a", 507);
    world.calls(OLD, 6);
    world.tick();
    let group = world.of("a");
    let mmap = &group.syscalls[&Syscall::Mmap];
    assert_eq!((group.minor_faults, mmap.calls, mmap.bytes), (37, 6, 24576));
    assert_eq!((mmap.duration_ns, mmap.durations[9]), (3000, 6));
    assert_eq!(group.processes, 2);
}

#[test]
fn what_was_counted_stays_with_the_group_that_the_process_leaves() {
    let mut world = World::new();
    world.lives(YOUNG, "shell", 10);
    world.calls(YOUNG, 3);
    world.tick();
    world.lives(YOUNG, "program", 15);
    world.calls(YOUNG, 8);
    world.tick();
    assert_eq!((world.mmaps("shell"), world.mmaps("program")), (3, 5));
    assert_eq!(world.of("shell").minor_faults, 10);
    assert_eq!(world.of("program").minor_faults, 5);
    let gauges = (world.of("shell").processes, world.of("program").processes);
    assert_eq!(gauges, (0, 1));
}

#[test]
fn a_program_that_was_never_seen_is_named_by_its_end() {
    let mut world = World::new();
    for (id, execs) in [(YOUNG, 1), (OLD, 0)] {
        world.lives(id, "shell", 10);
        world.counters.lifecycles.insert(id, Lifecycle::default());
        world.tick();
        world.calls(id, 8);
        world.counters.lifecycles.insert(id, Lifecycle { forks: 0, execs, exits: 1 });
        world.ends(id, 30);
    }
    world.tick();
    let (shell, ended) = (world.of("shell"), world.of("ended"));
    assert_eq!((ended.minor_faults, ended.exits, ended.execs, world.mmaps("ended")), (20, 1, 1, 8));
    assert_eq!((shell.minor_faults, shell.exits, shell.execs), (10 + 20, 1, 0));
}

#[test]
fn an_end_counts_once_and_is_forgotten_after_a_whole_interval() {
    let mut world = World::new();
    world.lives(OLD, "a", 100);
    world.tick();
    world.calls(OLD, 2);
    world.ends(OLD, 140);
    assert_eq!(world.tick(), []);
    assert_eq!((world.of("a").minor_faults, world.mmaps("a")), (40, 2));
    world.calls(OLD, 3);
    assert_eq!(world.tick(), [OLD]);
    world.tick();
    let group = world.of("a");
    assert_eq!((group.minor_faults, world.mmaps("a")), (40, 3));
    assert_eq!((group.exits, group.processes), (1, 0));
}

#[test]
fn a_process_that_takes_long_to_end_is_not_taken_for_a_new_one() {
    let mut world = World::new();
    world.lives(YOUNG, "a", 10);
    world.tick();
    world.ends(YOUNG, 12);
    world.lives(YOUNG, "a", 11);
    for _ in 0..3 {
        assert_eq!(world.tick(), []);
    }
    world.living.clear();
    assert_eq!(world.tick(), [YOUNG]);
    let group = world.of("a");
    assert_eq!((group.minor_faults, group.exits, group.processes), (12, 1, 0));
}

#[test]
fn a_life_between_two_readings_is_named_by_its_end() {
    let mut world = World::new();
    world.calls(YOUNG, 9);
    world.ends(YOUNG, 50);
    world.ends(OLD, 5000);
    world.tick();
    let group = world.of("ended");
    assert_eq!((group.minor_faults, group.exits, world.mmaps("ended")), (50, 2, 9));
    assert_eq!(world.tick().len(), 2);
    assert_eq!(world.of("ended").exits, 2);
}

#[test]
fn a_process_born_after_proc_was_read_waits_for_its_name() {
    let mut world = World::new();
    world.calls(YOUNG, 5);
    world.tick();
    assert!(world.groups.totals().is_empty());
    world.lives(YOUNG, "a", 3);
    world.calls(YOUNG, 7);
    world.tick();
    assert_eq!((world.mmaps("a"), world.of("a").minor_faults), (7, 3));
}

#[test]
fn counters_without_a_process_are_kept_and_are_no_end() {
    let mut world = World::new();
    world.calls(OLD, 5);
    assert_eq!(world.tick(), []);
    assert_eq!(world.tick(), [OLD]);
    assert_eq!((world.mmaps("ended"), world.of("ended").exits), (5, 0));
}

#[test]
fn a_process_that_vanishes_unseen_keeps_what_it_had() {
    let mut world = World::new();
    world.lives(YOUNG, "a", 20);
    world.tick();
    world.living.clear();
    assert_eq!(world.tick(), []);
    assert_eq!(world.of("a").exits, 0);
    // A directory of `/proc` that was read while it changed may leave somebody out.
    world.lives(YOUNG, "a", 25);
    world.tick();
    world.living.clear();
    world.tick();
    world.tick();
    assert_eq!(world.tick(), [YOUNG]);
    assert_eq!((world.of("a").minor_faults, world.of("a").exits), (25, 1));
}

#[test]
fn a_pid_used_again_takes_nothing_away() {
    let mut world = World::new();
    let second = ProcessId::new(YOUNG.pid, 2000);
    world.lives(YOUNG, "a", 20);
    world.calls(YOUNG, 20);
    world.tick();
    world.ends(YOUNG, 22);
    world.lives(second, "a", 4);
    world.calls(second, 1);
    world.tick();
    assert_eq!((world.mmaps("a"), world.of("a").minor_faults), (21, 26));
}

#[test]
fn where_the_kernel_knows_no_start_times_proc_tells_pids_apart() {
    let mut world = World::new();
    let pid = ProcessId::new(8, 0);
    for (start_ticks, group, minor, calls) in [(1001, "a", 20, 5), (2000, "b", 3, 6)] {
        let faults = Faults { minor, major: 0 };
        let living = Living {
            start_ticks,
            group: Belongs { to: Arc::from(group), founds: true },
            faults,
            areas: None,
        };
        world.living.insert(pid, living);
        world.calls(pid, calls);
        world.tick();
    }
    assert_eq!((world.mmaps("a"), world.mmaps("b")), (5, 1));
    assert_eq!((world.of("a").minor_faults, world.of("b").minor_faults), (20, 3));
    assert_eq!((world.of("a").exits, world.of("b").processes), (1, 1));
}

#[test]
fn a_counter_that_starts_again_adds_to_what_was() {
    let mut world = World::new();
    world.lives(YOUNG, "a", 20);
    for (calls, total) in [(u64::MAX / 8192, u64::MAX / 8192), (3, u64::MAX / 8192 + 3)] {
        world.calls(YOUNG, calls);
        world.tick();
        assert_eq!(world.mmaps("a"), total);
    }
    world.lives(YOUNG, "a", 19);
    world.tick();
    world.lives(YOUNG, "a", 20);
    world.tick();
    assert_eq!(world.of("a").minor_faults, 20);
}

#[test]
fn faults_take_as_long_as_the_samples_and_without_any_it_is_unknown() {
    let mut world = World::new();
    world.lives(YOUNG, "a", 100);
    world.lives(OLD, "b", 100);
    world.tick();
    assert_eq!(world.of("a").fault_seconds, None);
    let sampled = FaultTime { samples: 10, duration_ns: 20_000 };
    world.counters.fault_times.insert(YOUNG, sampled);
    world.lives(YOUNG, "a", 200);
    world.tick();
    world.tick();
    let seconds = world.of("a").fault_seconds.expect("sampled");
    assert!((seconds - 200.0 * 2e-6).abs() < 1e-12, "{seconds}");
    assert_eq!(world.of("b").fault_seconds, None);
}

#[test]
fn failures_forks_and_execs_are_counted_by_growth() {
    let mut world = World::new();
    world.lives(YOUNG, "a", 1);
    let failure = ErrnoKey { process: YOUNG, syscall: Syscall::Mmap as u32, errno: 12 };
    for count in 1..=3 {
        world.counters.errnos.insert(failure, count);
        let lifecycle = Lifecycle { forks: 2 * count, execs: count, exits: 0 };
        world.counters.lifecycles.insert(YOUNG, lifecycle);
        world.tick();
    }
    let group = world.of("a");
    assert_eq!(group.syscalls[&Syscall::Mmap].failures[&12], 3);
    assert_eq!((group.forks, group.execs), (6, 3));
}

#[test]
fn areas_are_those_of_the_living_that_were_counted() {
    let mut world = World::new();
    let uncounted = ProcessId::new(9, 1002);
    for (id, areas) in [(OLD, Some((300, 20))), (YOUNG, Some((9000, 7))), (uncounted, None)] {
        world.lives(id, "a", 1);
        world.living.get_mut(&id).expect("it lives").areas =
            areas.map(|(areas, holes)| AreaCount { areas, holes });
    }
    world.lives(ProcessId::new(10, 1003), "b", 1);
    world.tick();
    let totals = world.groups.totals();
    let areas = totals["a"].areas.expect("counted");
    assert_eq!((areas.largest, areas.sum, areas.most_holes), (9000, 9300, 20));
    assert_eq!(totals["b"].areas, None, "unknown is not 0");
    world.ends(YOUNG, 2);
    world.tick();
    let areas = world.groups.totals()["a"].areas.expect("counted");
    assert_eq!((areas.largest, areas.sum), (300, 300), "it is a gauge");
}

#[test]
fn lookups_and_cpu_samples_are_counted_by_growth_and_outlive_their_process() {
    let mut world = World::new();
    world.lives(YOUNG, "a", 1);
    let user = CpuKey { process: YOUNG, class: CpuClass::User };
    for count in 1..=3 {
        // The third function is not measured.
        world.counters.lookups.insert(YOUNG, LookupCounts { calls: [0, 0, 7, 0, 5 * count] });
        world.counters.cpu.insert(user, 2 * count);
        world.tick();
    }
    world.ends(YOUNG, 2);
    world.tick();
    world.tick();
    world.counters = Counters::default();
    world.tick();
    let group = world.of("a");
    assert_eq!(group.lookups, BTreeMap::from([(Lookup::VmUnmappedArea, 15)]));
    assert_eq!(group.cpu_samples, BTreeMap::from([("user", 6)]));
}
