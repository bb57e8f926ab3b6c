use super::fixtures::{churning, healthy, lossy};
use super::page::{bar, columns};
use super::*;
use crate::aggregate::Snapshot;
use crate::census::address_space::AddressSpace;

fn plain(recording: &Recording) -> String {
    text(recording, Style::default())
}

fn has(text: &str, phrases: &[&str]) {
    // Phrases may be broken over lines.
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for phrase in phrases {
        assert!(flat.contains(phrase), "“{phrase}” is not in\n{text}");
    }
}

#[test]
fn every_line_fits_and_nothing_reaches_the_terminal() {
    for recording in [churning(), healthy(), lossy(), Recording::new(Snapshot::default(), vec![])] {
        for width in [0, 40, 80, 120] {
            let style = Style { colour: false, width };
            for line in text(&recording, style).lines() {
                assert!(columns(line) <= width.max(40), "{width}: {line}");
                assert!(!line.chars().any(char::is_control), "{line:?}");
                assert!(!line.contains('\u{202e}') && !line.contains("NaN"), "{line:?}");
            }
        }
    }
}

#[test]
fn what_can_be_pasted_is_on_one_line() {
    let settings = [
        "MALLOC_TRIM_THRESHOLD_=2146435072 MALLOC_MMAP_THRESHOLD_=33554432",
        "GLIBC_TUNABLES=glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=5242880",
        "MALLOC_CONF=retain:true,dirty_decay_ms:-1,muzzy_decay_ms:-1",
    ];
    let mut recording = churning();
    for before in (0..80).map(|length| "x".repeat(length)) {
        recording.findings[0].remedy =
            settings.map(|setting| format!("{before} {setting} (some MiB stay)")).to_vec();
        let text = plain(&recording);
        for setting in settings {
            assert!(text.lines().any(|line| line.contains(setting)), "{text}");
        }
    }
}

#[test]
fn a_churning_server_is_explained_from_the_top() {
    let text = plain(&churning());
    let first = text.lines().next().unwrap_or_default();
    assert!(first.starts_with("mmap-churn: 2,000 short-lived mappings a second"), "{text}");
    has(
        &text,
        &[
            "33 % of the target's CPU time",
            "server (pid 4242), 4 threads, allocator glibc 2.41: /opt/server --port=80",
            "reuse the buffer in handle_request (server+0x121c)",
            "glibc.malloc.trim_threshold=17825792",
            "95 %: ",
            "should fall from 600 ms to about 400 ms (",
            "mmap failed: 18 ENOMEM, 2 errno 133",
            "minor 125,000 (12,500/s), major 0 (0/s); time 1.56 s (from 1,232 samples)",
            "20,000 × 2052 KiB",
            "fault 41 % ████████████████▍",
            "fault 22 % handle_request ← serve",
            "by 75 % handle_request ← serve",
            "in 90 % anon 2052 KiB × 4 in 10 % [heap]",
            "20,000 × mmap, 39.1 GiB, 100 ms",
            "calls of the allocator: glibc 2.41 calls per s bytes mean size malloc 30,000 3,000 3 MiB 104 B",
            "sizes: ≤64 B 33 %, ≤128 B 67 % most often: 120 B ×20,000, 64 B ×10,000",
            "≤128 B 20,000 2.3 MiB 2500 KiB 6.2 %",
            "all of them 30,000 2.9 MiB 3.2 MiB 9.5 %",
            "taken for a block: 8 bytes before each block, then a multiple of 16, at least 32",
            "every call was counted",
            "which code asks for it (estimated from 1,500 samples)",
            "2 MiB 67 % 67 % handle_request ← serve",
            "1 MiB 33 % 33 % parse_header ← serve",
            "what became of the blocks (estimated from 1,400 of them)",
            "freed 2304 KiB in 22,500 blocks; outstanding 768 KiB in 7,500 blocks",
            "lifetimes of those freed: <100 µs 50 %, <10.0 s 100 %",
            "512 KiB 67 % 1536 KiB handle_request ← serve",
            "30,000 blocks were handed out and 29,000 given back",
            "not every return of theirs can be seen: calloc",
            "6 areas of 65,530 (<0.1 %); read in 80.0 µs",
            "5 at the beginning: no growth to speak of",
            "cost 30.0 ms, 0.5 % of the target's CPU time",
        ],
    );
    assert!(!text.contains("what is missing") && !text.contains("not measured"), "{text}");
}

#[test]
fn only_a_large_address_space_is_shown_in_full() {
    let mut recording = churning();
    assert!(!plain(&recording).contains("picture"));
    let space = recording.snapshot.address_space.as_mut();
    space.expect("the fixture has one").areas = 5_000;
    has(
        &plain(&recording),
        &[
            "2052 KiB: 1 too small, from the top down, before the first that fits",
            "4 × gap there are addresses between them",
            "7f0000000000 2276 KiB 3 ████",
        ],
    );
}

#[test]
fn a_healthy_one_hears_what_was_looked_for() {
    let text = plain(&healthy());
    has(
        &text,
        &[
            "mmap-lock-contention. Memory calls took 2.00 ms, <0.1 % of the",
            "The time of page faults is unknown.",
            "major 2 (0.20/s); time unknown",
            "mappings made and unmade none",
            "next alloctrace attach --pid PID --duration",
        ],
    );
}

#[test]
fn what_was_lost_is_told_in_words() {
    let text = plain(&lossy());
    has(
        &text,
        &[
            "cost at least 8.3 % of the target's CPU time",
            "incomplete: totals are lower bounds",
            "1,200: mappings' records were dropped, the ring buffer was full",
            "3: of_tomorrow; the totals are lower bounds",
            "faults: the kernel has neither handle_mm_fault\\nnor the tracepoint",
            "minor unknown, major unknown; time unknown",
            "its cost is unknown",
            "per s, at least",
            "counted in 2.0 % of the time, to keep within the budget",
            "what is outstanding is unknown; freed or not, nobody knows: 900 B in 9 blocks",
            "that was for 200 ms of 10.0 s, for results cost more than the budget allows",
            "not in mallocx",
            "ev\\u{1b}[2Jil\\n (pid 4242)",
        ],
    );
    assert!(!text.contains("0: calls began"), "nothing was lost there");
}

#[test]
fn colours_only_on_demand() {
    let style = Style { colour: true, width: 80 };
    assert!(text(&churning(), style).starts_with("\x1b[1;31mmmap-churn: "));
    assert!(!plain(&churning()).contains('\x1b'));
}

#[test]
fn bars_have_eighths() {
    assert_eq!(bar(0.5, 4), "██");
    assert_eq!(bar(0.53, 4), "██▏");
    assert_eq!(bar(7.0, 4), "████");
    assert_eq!(bar(f64::NAN, 4), "");
}

#[test]
fn a_census_stands_alone_too() {
    let recording = churning();
    let space = recording.snapshot.address_space.as_ref().expect("there");
    let of = Inspected { pid: 4242, comm: "ev\x1b[2Jil" };
    for (colour, width) in [(false, 80), (false, 40), (true, 80)] {
        let text = vmas(space, of, Style { colour, width });
        assert_eq!(text.contains("\x1b["), colour);
        assert!(!text.contains("\x1b[2J"));
        if !colour {
            for line in text.lines() {
                assert!(columns(line) <= width, "{width}: {line}");
            }
        }
    }
    let text = vmas(space, of, Style::default());
    has(
        &text,
        &[
            "ev\\u{1b}[2Jil (pid 4242): 6 areas of 65,530 (<0.1 %)",
            "2 × anonymous 33 %",
            "4 × gap",
            "next alloctrace attach --pid 4242 --duration 30s",
        ],
    );
}

#[test]
fn the_headline_warns_before_the_limit() {
    let mut space = churning().snapshot.address_space.expect("there");
    let of = Inspected { pid: 1, comm: "x" };
    for (areas, code) in [(100, "1;32"), (40_000, "33"), (64_000, "1;31")] {
        space.areas = areas;
        let text = vmas(&space, of, Style { colour: true, width: 80 });
        assert!(text.starts_with(&format!("\x1b[{code}m")), "{text}");
    }
    let mut growing = churning();
    if let Some(space) = &mut growing.snapshot.address_space {
        space.areas = 4_005;
    }
    let expected = "5 at the beginning, 400 more each second: at the limit in 3 minutes if that";
    has(&plain(&growing), &[expected]);
    has(&vmas(&space, of, Style::default()), &["at the limit mmap fails with ENOMEM"]);
}

#[test]
fn a_hostile_census_is_rendered() {
    let most = u64::MAX;
    let text = format!(
        r#"{{"areas": {most}, "limit": 0, "kinds": [{{"kind": "file", "areas": {most}, "bytes": {most}}}],
        "sizes": [{{"bytes": {most}, "areas": {most}}}, {{"bytes": 0, "areas": 0}}],
        "unmerged": {{"gap": {most}, "file": {most}}},
        "holes": {{"count": 0, "bytes": {most}, "largest": {most}, "sizes":
        [{{"bytes": {most}, "holes": {most}}}, {{"bytes": 1, "holes": {most}}}]}},
        "requests": [{{"bytes": {most}, "holes_too_small": 7}}], "read_seconds": -1e308}}"#
    );
    let space: AddressSpace = serde_json::from_str(&text).expect("it is a census");
    let snapshot = Snapshot { address_space: Some(space.clone()), ..Snapshot::default() };
    let findings = crate::diagnose::all(&snapshot);
    let rendered = [
        plain(&Recording::new(snapshot, findings)),
        vmas(&space, Inspected { pid: 0, comm: "" }, Style::default()),
    ];
    for line in rendered.iter().flat_map(|text| text.lines()) {
        assert!(columns(line) <= 80 && !line.contains("NaN"), "{line}");
    }
}

#[test]
fn a_browser_gets_every_section_and_no_code_of_the_targets() {
    const EVIL: &str = "</title><script>alert(1)</script>";
    let mut recording = churning();
    recording.snapshot.target.comm = EVIL.to_owned();
    recording.findings[0].summary.push_str(EVIL);
    let html = html(&recording);
    assert!(!html.contains("<script") && html.matches("</title>").count() == 1);
    assert!(html.contains("&lt;/title&gt;&lt;script&gt;alert(1)"));
    assert!(html.contains("<h2 class=\"bad\">mmap-churn (high"), "no finding");
    for title in ["system calls", "page faults", "where the CPU time goes"] {
        assert!(html.contains(&format!("<h2 class=\"heading\">{title}")), "{title}");
    }
    assert!(html.contains("src=\"data:image/svg+xml,%3C%3Fxml"), "no flame graph");
}
