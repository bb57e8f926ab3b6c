use super::*;
use crate::aggregate::pieces::MOST_DISPLACED;

const MIB: u64 = 1 << 20;

fn at(end_ns: u64, duration_ns: u64) -> CallTime {
    CallTime { end_ns, duration_ns }
}

#[test]
fn a_mapping_that_is_unmapped_is_a_cycle() {
    let (mut space, mut died) = (AddressSpace::default(), Vec::new());
    space.map(0x10000, 2 * MIB, Placement::Free, at(100, 10), &mut died);
    space.fault(0x10000 + 5, 31);
    space.fault(0x10000 + 2 * MIB, 31);
    space.unmap(0x10000, 2 * MIB, at(500, 20), &mut died);
    let cycle = Cycle {
        born_bytes: 2 * MIB,
        bytes: 2 * MIB,
        lifetime_ns: 400,
        birth_duration_ns: 10,
        death_duration_ns: 20,
        fault_weight: 31,
    };
    assert_eq!(died, [cycle]);
    assert_eq!(space.len(), 0);
}

#[test]
fn a_mapping_dies_with_its_last_piece() {
    let (mut space, mut died) = (AddressSpace::default(), Vec::new());
    space.map(0x10000, 0x3000, Placement::Free, at(100, 1), &mut died);
    space.unmap(0x11000, 0x1000, at(200, 1), &mut died);
    space.unmap(0x10000, 0x1000, at(300, 1), &mut died);
    assert!(died.is_empty());
    space.unmap(0x12000, 0x1000, at(400, 1), &mut died);
    assert_eq!(died.len(), 1);
    assert_eq!((died[0].bytes, died[0].lifetime_ns, died[0].death_duration_ns), (0x3000, 300, 3));
}

#[test]
fn one_call_unmaps_many_and_its_time_counts_once() {
    let (mut space, mut died) = (AddressSpace::default(), Vec::new());
    space.map(0x10000, 0x1000, Placement::Free, at(100, 1), &mut died);
    space.map(0x11000, 0x1000, Placement::Free, at(110, 1), &mut died);
    space.unmap(0, 0x20000, at(200, 7), &mut died);
    assert_eq!(died.iter().map(|cycle| cycle.death_duration_ns).sum::<u64>(), 7);
    assert_eq!(died.len(), 2);
}

#[test]
fn mapping_over_a_mapping_ends_it() {
    let (mut space, mut died) = (AddressSpace::default(), Vec::new());
    space.map(0x10000, 0x2000, Placement::Free, at(100, 1), &mut died);
    space.map(0x10000, 0x2000, Placement::Fixed, at(200, 1), &mut died);
    assert_eq!(died.len(), 1);
    assert_eq!(space.len(), 1);
}

#[test]
fn a_late_record_of_an_unmapping_spares_the_new_owner() {
    let (mut space, mut died) = (AddressSpace::default(), Vec::new());
    space.map(0x10000, 0x1000, Placement::Free, at(100, 1), &mut died);
    // The unmapping began at 200 and took effect at once, another thread got the addresses at
    // 250, and the unmapping's return was seen at 300 only.
    space.map(0x10000, 0x1000, Placement::Free, at(250, 10), &mut died);
    space.unmap(0x10000, 0x1000, at(300, 100), &mut died);
    assert_eq!(died.len(), 1);
    assert_eq!(space.len(), 1);
}

#[test]
fn a_late_record_of_a_move_finds_its_mapping() {
    let (mut space, mut died) = (AddressSpace::default(), Vec::new());
    space.map(0x10000, 0x1000, Placement::Free, at(100, 1), &mut died);
    // The move began at 200, and another thread was given the old addresses at 250.
    space.map(0x10000, 0x1000, Placement::Free, at(250, 10), &mut died);
    space.remap((0x10000, 0x1000), (0x90000, 0x2000), false, at(300, 100), &mut died);
    assert!(died.is_empty());
    space.unmap(0x90000, 0x2000, at(400, 1), &mut died);
    assert_eq!((died[0].bytes, died[0].lifetime_ns), (0x2000, 300));
    assert_eq!(space.len(), 1);
}

#[test]
fn a_move_finds_a_mapping_that_was_displaced_in_part() {
    let (mut space, mut died) = (AddressSpace::default(), Vec::new());
    space.map(0x10000, 0x2000, Placement::Free, at(100, 1), &mut died);
    space.map(0x11000, 0x1000, Placement::Free, at(250, 10), &mut died);
    space.remap((0x10000, 0x2000), (0x90000, 0x4000), false, at(300, 100), &mut died);
    space.unmap(0x90000, 0x4000, at(400, 1), &mut died);
    assert_eq!((died.len(), died[0].bytes, space.len()), (1, 0x4000, 1));
}

#[test]
fn what_waits_for_a_lost_record_is_given_up() {
    let (mut space, mut died) = (AddressSpace::default(), Vec::new());
    for call in 0..1000 {
        space.map(0x10000, 0x1000, Placement::Free, at(call, 0), &mut died);
    }
    assert_eq!(died.len(), 1000 - 1 - MOST_DISPLACED);
}

#[test]
fn a_moved_and_grown_mapping_stays_the_same() {
    let (mut space, mut died) = (AddressSpace::default(), Vec::new());
    space.map(0x10000, 0x1000, Placement::Free, at(100, 1), &mut died);
    space.remap((0x10000, 0x1000), (0x90000, 0x4000), false, at(150, 1), &mut died);
    space.unmap(0x10000, 0x1000, at(200, 1), &mut died);
    assert!(died.is_empty());
    space.unmap(0x90000, 0x4000, at(300, 1), &mut died);
    assert_eq!((died[0].bytes, died[0].lifetime_ns), (0x4000, 200));
}

#[test]
fn shrinking_in_place_keeps_the_rest() {
    let (mut space, mut died) = (AddressSpace::default(), Vec::new());
    space.map(0x10000, 0x4000, Placement::Free, at(100, 1), &mut died);
    space.remap((0x10000, 0x4000), (0x10000, 0x1000), false, at(150, 1), &mut died);
    space.unmap(0x10000, 0x1000, at(300, 1), &mut died);
    assert_eq!((died[0].bytes, died.len()), (0x1000, 1));
}

#[test]
fn hostile_ranges_do_nothing() {
    let (mut space, mut died) = (AddressSpace::default(), Vec::new());
    space.map(u64::MAX - 10, 100, Placement::Free, at(1, 1), &mut died);
    space.map(0x1000, 0, Placement::Free, at(1, 1), &mut died);
    space.unmap(0, u64::MAX, at(1, 1), &mut died);
    assert_eq!((space.len(), died.len()), (0, 0));
}

#[test]
fn a_late_unmapping_spares_what_moved_in_since() {
    let (mut space, mut died) = (AddressSpace::default(), Vec::new());
    space.map(0x10000, 0x1000, Placement::Free, at(100, 1), &mut died);
    space.map(0x20000, 0x1000, Placement::Free, at(110, 1), &mut died);
    // The first is unmapped from 200 on, the second moves there at 250: old, but new at its place.
    space.remap((0x20000, 0x1000), (0x10000, 0x1000), false, at(250, 5), &mut died);
    space.unmap(0x10000, 0x1000, at(300, 100), &mut died);
    assert_eq!((died.len(), died[0].lifetime_ns, space.len()), (1, 200, 1));
    space.unmap(0x10000, 0x1000, at(400, 1), &mut died);
    assert_eq!((died.len(), died[1].lifetime_ns, space.len()), (2, 290, 0));
}
