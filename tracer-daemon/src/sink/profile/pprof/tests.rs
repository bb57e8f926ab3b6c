use std::io::Read;

use flate2::read::GzDecoder;

use super::*;
use crate::sink::report::fixtures::{churning, lossy};

fn decoded(snapshot: &Snapshot) -> Profile {
    let stacks: Vec<_> = snapshot.stacks.iter().collect();
    let bytes = pprof(&stacks, snapshot).expect("memory takes it");
    let mut plain = Vec::new();
    GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).expect("compressed");
    Profile::decode(plain.as_slice()).expect("a profile")
}

fn text(profile: &Profile, row: i64) -> &str {
    &profile.string_table[usize::try_from(row).expect("a row")]
}

/// The functions of a sample, innermost first, those of one instruction together.
fn functions<'a>(profile: &'a Profile, sample: &Sample) -> Vec<Vec<&'a str>> {
    let location = |id: &u64| {
        let location = profile.location.iter().find(|one| one.id == *id).expect("a location");
        let function = |line: &message::Line| {
            let function = profile.function.iter().find(|one| one.id == line.function_id);
            text(profile, function.expect("a function").name)
        };
        location.line.iter().map(function).collect()
    };
    sample.location_id.iter().map(location).collect()
}

fn period(profile: &Profile) -> (&str, &str, i64) {
    let kind = profile.period_type.as_ref().expect("there are samples");
    (text(profile, kind.name), text(profile, kind.unit), profile.period)
}

#[test]
fn what_was_recorded_is_in_the_profile() {
    let recording = churning();
    let profile = decoded(&recording.snapshot);
    let types: Vec<_> = profile
        .sample_type
        .iter()
        .map(|one| (text(&profile, one.name), text(&profile, one.unit)))
        .collect();
    let truth = [
        ("samples", "count"),
        ("cpu", "nanoseconds"),
        ("lookups", "count"),
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
        ("mmap_calls", "count"),
        ("mmap_space", "bytes"),
        ("mmap_time", "nanoseconds"),
    ];
    assert_eq!(types, truth);
    let mapping: i64 = (2 << 20) + 4096;
    let values: Vec<_> = profile.sample.iter().map(|sample| sample.value.clone()).collect();
    let truth = [
        [0, 0, 0, 0, 0, 0, 0, 20_000, 20_000 * mapping, 100_000_000],
        [160, 1_300_000_000, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 75_000, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 20_000, 2 << 20, 5_000, 2 << 18, 0, 0, 0],
        [0, 0, 0, 10_000, 1 << 20, 2_500, 1 << 18, 0, 0, 0],
    ];
    assert_eq!(values, truth);
    let names = ["mmap64", "sysmalloc", "malloc", "handle_request", "serve"].map(|name| vec![name]);
    assert_eq!(functions(&profile, &profile.sample[0]), names);
    let place = profile.sample[2].label.first().map(|one| text(&profile, one.text));
    assert_eq!(place, Some("find_vma"));
    let files: Vec<_> = profile.mapping.iter().map(|one| text(&profile, one.filename)).collect();
    assert_eq!(files, ["/opt/server", "/usr/lib/x86_64-linux-gnu/libc.so.6"]);
    let build_ids: Vec<_> =
        profile.mapping.iter().map(|one| text(&profile, one.build_id)).collect();
    assert_eq!(build_ids, ["", "2eb0d5"]);
    let times = (profile.time_nanos, profile.duration_nanos);
    assert_eq!(times, (1_790_000_000_000_000_000, 10_000_000_000));
    assert_eq!((text(&profile, 0), period(&profile)), ("", ("cpu", "nanoseconds", 10_101_010)));
    assert_eq!(text(&profile, profile.default_sample_type), "cpu");
}

#[test]
fn a_profile_of_the_heap_is_of_the_kind_that_go_makes() {
    let mut recording = churning();
    recording.snapshot.stacks.retain(|stack| stack.kind == stack_kind::MALLOC);
    let profile = decoded(&recording.snapshot);
    assert_eq!(period(&profile), ("space", "bytes", 0));
    assert_eq!(text(&profile, profile.default_sample_type), "alloc_space");
    let names = ["handle_request", "serve"].map(|name| vec![name]);
    assert_eq!(functions(&profile, &profile.sample[0]), names);
    let place = profile.sample[0].label.first().map(|one| text(&profile, one.text));
    assert_eq!(place, Some("malloc"));
}

#[test]
fn inlined_functions_share_an_instruction_and_recursion_does_not() {
    let frame = |symbol: &str, offset| Frame {
        symbol: (!symbol.is_empty()).then(|| symbol.to_owned()),
        module: Some("/bin/app".to_owned()),
        offset,
        file: Some("app.c".to_owned()),
        line: Some(12),
    };
    let frames = vec![
        frame("inlined", 7),
        frame("walk", 7),
        frame("inlined", 7),
        frame("walk", 7),
        frame("", 9),
        frame("", 9),
        frame("main", 11),
    ];
    let kind = "fault".to_owned();
    let stacks = vec![StackTotals { kind, frames, count: 1, ..StackTotals::default() }];
    let profile = decoded(&Snapshot { stacks, ..Snapshot::default() });
    let found = functions(&profile, &profile.sample[0]);
    assert_eq!(
        found,
        [vec!["inlined", "walk"], vec!["inlined", "walk"], vec![], vec![], vec!["main"]]
    );
    assert_eq!((profile.location.len(), profile.function.len()), (3, 3));
    let (function, line) = (&profile.function[0], &profile.location[0].line[0]);
    assert_eq!((text(&profile, function.filename), line.line), ("app.c", 12));
    assert_eq!((profile.mapping.len(), profile.mapping[0].memory_limit), (1, 12));
}

#[test]
fn anything_can_be_in_a_recording() {
    let mut recording = lossy();
    let stacks = &mut recording.snapshot.stacks;
    stacks[0].count = u64::MAX;
    stacks[0].seconds = Some(f64::NAN);
    recording.snapshot.window.started_at = Some(f64::INFINITY);
    stacks[1].kind = "of\ntomorrow".to_owned();
    stacks[2].frames = vec![Frame { offset: u64::MAX, ..Frame::default() }; 1000];
    let profile = decoded(&recording.snapshot);
    assert_eq!(profile.sample.len(), 4, "nobody knows what the other kind is");
    assert_eq!(profile.sample[0].value[3], i64::MAX);
    let ids = &profile.sample[1].location_id;
    assert_eq!(*ids, vec![ids[0]; 1000]);
    assert!(decoded(&Snapshot::default()).sample_type.is_empty());
}
