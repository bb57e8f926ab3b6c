//! A recorded dump of the ring buffer goes the whole way, without privileges: decode, aggregate,
//! diagnose, sinks.
//!
//! `fixtures/churn.records` was made by
//! `alloctrace attach --pid PID --dump FILE` on
//! `env -i setarch -R mmap_churn --wait --cycles 300 --pause-us 2000`, built with
//! `-C force-frame-pointers=yes`; the environment and a random gap would be copied with each stack.

use alloctrace::{
    aggregate::{
        kernel_path::KernelNames,
        snapshot::{Cpu, FaultTotals, Snapshot, Window},
        stacks::{Sample, StackKey, Unwound},
        state::State,
    },
    decode::decode,
    diagnose,
    sink::{Recording, report},
    source::replay,
    unwind::by_frame_pointers,
};

const DUMP: &[u8] = include_bytes!("fixtures/churn.records");
const CYCLES: u64 = 300;
const SIZE: u64 = 2 << 20;

struct NoNames;
impl KernelNames for NoNames {
    fn name(&self, _: u64) -> Option<&str> {
        None
    }
}

fn replayed() -> State<NoNames> {
    let mut state = State::new(NoNames);
    for record in replay::records(DUMP) {
        state.apply(&decode(record).expect("a record of this version"));
    }
    // The program that was recorded is not here; it has frame pointers.
    while let Some(Sample { program: (process, program), kind, stack, sum, id }) =
        state.stacks.next_waiting()
    {
        let frames = by_frame_pointers(&stack);
        let key = StackKey { process, program, kind, frames };
        state.stacks.add(Unwound { key, sum, id });
    }
    state
}

#[test]
fn the_mappings_come_out_as_they_were() {
    let state = replayed();
    let mappings = state.cycles.snapshot(&state.faults);
    assert_eq!((mappings.cycles, mappings.short_lived), (CYCLES, CYCLES));
    let sizes: Vec<_> = mappings.sizes.iter().map(|size| (size.bytes, size.cycles)).collect();
    assert_eq!(sizes, [(SIZE, CYCLES)]);
    assert_eq!(mappings.short.at_once, 1);
    let lifetime = mappings.lifetime_seconds.expect("there were cycles");
    assert!(lifetime.p50 > 0.0 && lifetime.p50 < 0.001, "{lifetime:?}");
    assert!(mappings.short.birth_seconds > 0.0 && mappings.short.death_seconds > 0.0);
}

#[test]
fn stacks_stand_for_every_call() {
    let state = replayed();
    for kind in ["mmap", "munmap"] {
        let all = state.stacks.heaviest(|_| usize::MAX);
        let stacks: Vec<_> = all.iter().filter(|(key, _)| key.kind.name() == kind).collect();
        // The first 64 calls of a thread come with their stacks, and one of 256 of the others; here
        // every second call is a munmap.
        let count: u64 = stacks.iter().map(|(_, sum)| sum.count).sum();
        assert!((32..1200).contains(&count), "{count} {kind} calls");
        assert!(stacks.iter().all(|(key, _)| key.frames.len() >= 2), "{kind} without a caller");
    }
}

/// The counts are not in the ring; they are those that the same run had.
#[test]
fn the_whole_way_ends_in_a_finding_and_a_report() {
    let state = replayed();
    let snapshot = Snapshot {
        window: Window { seconds: 1.0, complete: true, ..Window::default() },
        cpu: Cpu { user_seconds: Some(0.005), system_seconds: Some(0.02), ..Cpu::default() },
        faults: FaultTotals {
            minor: Some(CYCLES * 6),
            major: Some(0),
            seconds: Some(0.01),
            samples: 100,
        },
        mappings: Some(state.cycles.snapshot(&state.faults)),
        ..Snapshot::default()
    };
    let findings = diagnose::all(&snapshot);
    assert_eq!(findings.first().map(|one| one.id.as_str()), Some("mmap-churn"));
    assert_eq!(findings[0].cause.bytes, Some(SIZE));
    let recording = Recording::new(snapshot, findings);
    let text = report::text(&recording, report::Style::default());
    assert!(text.contains("mmap-churn") && text.contains("2 MiB"), "{text}");
    let mut json = Vec::new();
    recording.write_to(&mut json).expect("memory takes everything");
    let read = Recording::read_from(json.as_slice(), "memory").expect("what was written");
    assert_eq!(read.findings, recording.findings);
}

#[test]
fn a_damaged_dump_ends_where_the_damage_is() {
    let whole = replay::records(DUMP).count();
    let cut = replay::records(&DUMP[..DUMP.len() - 5]).count();
    assert_eq!(cut, whole - 1);
    let mut bad = DUMP.to_vec();
    bad[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(replay::records(&bad).count(), 0);
    for at in 0..DUMP.len().min(4000) {
        let mut bad = DUMP[..4000].to_vec();
        bad[at] ^= 0xff;
        let mut state = State::new(NoNames);
        for event in replay::records(&bad).filter_map(|record| decode(record).ok()) {
            state.apply(&event);
        }
    }
}
