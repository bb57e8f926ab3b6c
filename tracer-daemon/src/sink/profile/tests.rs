use super::*;
use crate::{
    aggregate::snapshot::Frame,
    sink::{
        Recording,
        report::fixtures::{churning, lossy},
    },
};

fn of_kind<'a>(recording: &'a Recording, kind: &str) -> Vec<&'a StackTotals> {
    recording.snapshot.stacks.iter().filter(|stack| stack.kind == kind).collect()
}

/// Names from the innermost.
fn stack(kind: &str, count: u64, names: &[&str]) -> StackTotals {
    let frame = |name: &&str| Frame { symbol: Some((*name).to_owned()), ..Frame::default() };
    let frames = names.iter().map(frame).collect();
    StackTotals { kind: kind.to_owned(), frames, count, ..StackTotals::default() }
}

#[test]
fn each_kind_weighs_what_it_is_looked_at_for() {
    let recording = churning();
    let all: Vec<_> = recording.snapshot.stacks.iter().collect();
    let lines = "cpu;serve;handle_request 1300000000\n\
                 lookup;serve;handle_request 75000\n\
                 malloc;serve;handle_request;operator new(unsigned long);malloc 2097152\n\
                 malloc;serve;parse_header;operator new(unsigned long);malloc 1048576\n\
                 mmap;serve;handle_request;malloc;sysmalloc;mmap64 20000\n";
    assert_eq!(folded(&all, None), lines);
    let bytes = folded(&of_kind(&recording, "mmap"), Some(Measure::Bytes));
    let mapping = (2 << 20) + 4096;
    let held = folded(&of_kind(&recording, "malloc"), Some(Measure::InUseSpace));
    let leaf = "operator new(unsigned long);malloc";
    let held_by = |site: &str, bytes: u64| format!("malloc;serve;{site};{leaf} {bytes}\n");
    assert_eq!(held, held_by("handle_request", 1 << 19) + &held_by("parse_header", 1 << 18));
    let line = "mmap;serve;handle_request;malloc;sysmalloc;mmap64";
    assert_eq!(bytes, format!("{line} {}\n", 20_000_u64 * mapping));
}

#[test]
fn stacks_of_the_same_names_are_one_line() {
    let mut nameless = stack("fault", 1, &["", "main"]);
    nameless.frames[0] =
        Frame { module: Some("/lib/libx.so".to_owned()), offset: 7, ..Frame::default() };
    let mut other = nameless.clone();
    other.frames[0].offset = 8;
    let empty = stack("fault", 5, &[]);
    let lines = "fault 5\nfault;main;[libx.so] 2\n";
    assert_eq!(folded(&[&nameless, &empty, &other], None), lines);
}

#[test]
fn no_name_breaks_a_line() {
    let hostile = stack(
        "mmap",
        3,
        &[
            "leaf 1.5x",
            "a;b",
            "new\nline\r",
            "",
            "\u{a0}\u{2003}",
            "esc\x1b[2J",
            "operator new(int)",
        ],
    );
    let text = folded(&[&hostile], None);
    let leaves = "??;??;new\\nline\\r;a:b;leaf_1.5x 3\n";
    assert_eq!(text, format!("mmap;operator new(int);esc\\u{{1b}}[2J;{leaves}"));
}

#[test]
fn a_flame_graph_is_whole_and_safe() {
    for recording in [churning(), lossy()] {
        let comm = &recording.snapshot.target.comm;
        let svg = flamegraph(&of_kind(&recording, "mmap"), comm, Measure::Bytes).expect("drawn");
        let svg = String::from_utf8(svg).expect("text");
        assert!(svg.starts_with("<?xml") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("<title>mmap;serve") || svg.contains("<title>serve"), "{svg}");
        assert!(svg.contains("41,984,000,000") || svg.contains("bytes"), "{svg}");
        assert!(!svg.contains('\x1b') && !svg.contains('\u{202e}'));
    }
    let markup = stack("mmap", u64::MAX, &["<script>alert(1)</script>", "\"&'\u{ffff}"]);
    let second = stack("mmap", u64::MAX, &["b"]);
    let svg = flamegraph(&[&markup, &second], "<b>", Measure::Count).expect("drawn");
    let svg = String::from_utf8(svg).expect("text");
    assert!(!svg.contains("<script>alert") && !svg.contains("<b>") && !svg.contains('\u{ffff}'));
}

#[test]
fn without_weights_there_is_no_picture() {
    let recording = churning();
    assert!(flamegraph(&of_kind(&recording, "lookup"), "x", Measure::Bytes).is_err());
    assert_eq!(folded(&[], None), "");
}

#[test]
fn cpu_samples_come_first() {
    assert_eq!(kinds(&churning().snapshot.stacks), ["cpu", "lookup", "malloc", "mmap"]);
    assert!(kinds(&[]).is_empty());
}
