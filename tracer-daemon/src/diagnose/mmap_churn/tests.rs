use super::*;
use crate::aggregate::snapshot::{
    Cpu, FaultShare, FaultTotals, Frame, Mappings, Quantiles, ShortLived, SizeCycles, TargetInfo,
    Window,
};

const MAPPING: u64 = (2 << 20) + 4096;

fn frame(symbol: &str, module: &str) -> Frame {
    Frame {
        symbol: Some(symbol.to_owned()),
        module: Some(module.to_owned()),
        offset: 0x1234,
        ..Frame::default()
    }
}

fn stack(caller: Frame) -> StackTotals {
    StackTotals {
        kind: "mmap".to_owned(),
        frames: vec![
            frame("mmap64", "/usr/lib/libc.so.6"),
            caller,
            frame("handle_request", "/opt/server"),
        ],
        count: 20_000,
        ..StackTotals::default()
    }
}

/// 2,000 cycles a second for ten seconds: 0.1 s in mmap, 0.4 s in munmap, 1.5 s in faults.
fn churning() -> Snapshot {
    Snapshot {
        target: TargetInfo { threads: Some(4), ..TargetInfo::default() },
        window: Window { seconds: 10.0, complete: true, ..Window::default() },
        cpu: Cpu { user_seconds: Some(2.0), system_seconds: Some(3.0), ..Cpu::default() },
        faults: FaultTotals {
            minor: Some(125_000),
            major: Some(0),
            seconds: Some(1.5625),
            samples: 1000,
        },
        mappings: Some(Mappings {
            cycles: 20_100,
            short_lived: 20_000,
            lifetime_seconds: Some(Quantiles { p50: 80e-6, p90: 1e-4, p99: 2e-4 }),
            sizes: vec![SizeCycles { bytes: MAPPING, cycles: 20_100 }],
            short: ShortLived {
                at_once: 0,
                birth_seconds: 0.1,
                death_seconds: 0.4,
                faults: FaultShare { share: Some(0.96), samples: (960, 1000) },
            },
        }),
        stacks: vec![stack(frame("sysmalloc", "/usr/lib/libc.so.6"))],
        ..Snapshot::default()
    }
}

fn changed(change: impl FnOnce(&mut Snapshot, &mut Mappings)) -> Option<Finding> {
    let mut snapshot = churning();
    let mut mappings = snapshot.mappings.take().unwrap_or_default();
    change(&mut snapshot, &mut mappings);
    snapshot.mappings = Some(mappings);
    mmap_churn(&snapshot)
}

fn finding(change: impl FnOnce(&mut Snapshot, &mut Mappings)) -> Finding {
    changed(change).expect("the pattern is there")
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn a_churning_server_is_found_with_its_cost() {
    let found = finding(|_, _| ());
    assert_eq!((found.id.as_str(), found.severity), ("mmap-churn", Severity::High));
    assert!(near(found.cost.cpu_seconds_per_second, 0.2));
    assert!(near(found.cost.share_of_target.expect("known"), 0.4));
    let saving = found.predicted_saving.expect("gain");
    assert!(near(saving.cpu_seconds_per_second, 0.2));
    assert!(near(saving.cpu_seconds_per_cycle, 1e-4));
    assert!(saving.low > 0.17 && saving.low < 0.2 - 0.01);
    assert!(saving.high < 0.23 && saving.high > 0.2 + 0.01);
    let evidence = found.evidence.join("\n");
    for phrase in [
        "20,000 mappings",
        "2,000/s",
        "2052 KiB (100 %)",
        "80.0 µs",
        "6.00 minor faults",
        "mmap 5.00 µs, munmap 20.0 µs, faults 75.0 µs",
    ] {
        assert!(evidence.contains(phrase), "{phrase} in\n{evidence}");
    }
    assert_eq!(found.cause.bytes, Some(MAPPING));
    assert_eq!(found.cause.stack[2], "handle_request (server+0x1234)");
    assert!(near(found.confidence, 0.95));
}

#[test]
fn the_pattern_needs_rate_number_and_mappings() {
    assert_eq!(changed(|_, mappings| mappings.short_lived = 999), None);
    // All of them lived at once: none could have been used again.
    assert_eq!(changed(|_, mappings| mappings.short.at_once = 20_000), None);
    assert_eq!(changed(|s, m| (s.window.seconds, m.short_lived) = (0.1, 49)), None);
    assert!(changed(|s, m| (s.window.seconds, m.short_lived) = (0.1, 50)).is_some());
    assert_eq!(mmap_churn(&Snapshot { mappings: None, ..churning() }), None);
    assert_eq!(mmap_churn(&Snapshot::default()), None);
}

#[test]
fn severity_follows_the_share_and_small_costs_are_no_gain() {
    // The cost is 2 s of CPU time in 10 s.
    for (system, severity) in [
        (8.0, Severity::High),
        (9.0, Severity::Medium),
        (38.0, Severity::Medium),
        (39.0, Severity::Low),
        (98.0, Severity::Low),
        (99.0, Severity::NoGain),
    ] {
        let found = finding(|snapshot, _| snapshot.cpu.system_seconds = Some(system));
        assert_eq!(found.severity, severity, "{system}");
        assert_eq!(found.predicted_saving.is_none(), severity == Severity::NoGain);
    }
}

#[test]
fn half_a_percent_of_a_cpu_is_no_gain_whatever_the_share() {
    let found = finding(|snapshot, mappings| {
        snapshot.faults.seconds = Some(0.02);
        (mappings.short.birth_seconds, mappings.short.death_seconds) = (0.01, 0.01);
        (snapshot.cpu.user_seconds, snapshot.cpu.system_seconds) = (Some(0.05), Some(0.05));
    });
    assert_eq!(found.severity, Severity::NoGain);
    assert!(found.summary.starts_with("no gain: 2,000 short-lived"), "{}", found.summary);
    assert!(found.summary.contains("39 %"), "{}", found.summary);
    assert!(found.remedy.is_empty());
}

#[test]
fn unknown_fault_time_makes_a_lower_bound() {
    for found in [
        finding(|snapshot, _| snapshot.faults.seconds = None),
        finding(|_, mappings| mappings.short.faults.share = None),
    ] {
        assert!(near(found.cost.cpu_seconds_per_second, 0.05));
        assert!(found.summary.contains("at least 10 %"), "{}", found.summary);
        assert!(found.evidence.iter().any(|line| line.contains("lower bound")));
        assert!(found.confidence < 0.6);
        let saving = found.predicted_saving.expect("gain");
        assert!(near(saving.high, 0.3), "all of the system time: {saving:?}");
    }
}

#[test]
fn the_caller_decides_the_remedy() {
    let remedies = |caller: Option<Frame>| {
        let found =
            finding(|snapshot, _| snapshot.stacks = caller.map(stack).into_iter().collect());
        (found.remedy.join("\n"), found.confidence)
    };
    let (glibc, certain) = remedies(Some(frame("sysmalloc", "/l/libc.so.6")));
    // 2 × 2052 KiB × 4 threads = 16,416 KiB, rounded up.
    let tunables = "GLIBC_TUNABLES=glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17825792 ";
    assert!(glibc.contains(tunables), "{glibc}");
    assert!(glibc.starts_with("reuse the buffer in handle_request (server+0x1234)"), "{glibc}");
    assert!(glibc.contains("worse than none") && glibc.contains("removing that setting"));
    let (direct, _) = remedies(Some(frame("render", "/opt/server")));
    assert!(direct.contains("a pool of 4 mappings of 2052 KiB"), "{direct}");
    assert!(direct.contains("MADV_FREE") && !direct.contains("mmap_max"));
    let (musl, _) = remedies(Some(frame("malloc", "/lib/ld-musl-x86_64.so.1")));
    assert!(musl.contains("another allocator") && !musl.contains("mmap_max"));
    let (unknown, doubtful) = remedies(None);
    assert!(unknown.contains("mmap_max=0") && unknown.contains("MADV_FREE"));
    assert!(doubtful < certain);
}

#[test]
fn blocks_over_32_mib_are_never_kept_by_glibc() {
    let found = finding(|_, mappings| mappings.sizes[0].bytes = 40 << 20);
    assert!(found.remedy.iter().any(|line| line.contains("never keeps blocks over 32 MiB")));
    let found = finding(|_, mappings| mappings.sizes[0].bytes = (32 << 20) + 4096);
    assert!(found.remedy.iter().any(|line| line.contains("removing that setting")));
}

#[test]
fn hostile_numbers_yield_numbers() {
    let hostile = [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE];
    for value in hostile {
        for seconds in hostile {
            let found = changed(|snapshot, mappings| {
                snapshot.window.seconds = seconds;
                snapshot.cpu.user_seconds = Some(value);
                snapshot.cpu.system_seconds = Some(value);
                snapshot.faults.seconds = Some(value);
                snapshot.target.threads = Some(u64::MAX);
                mappings.short_lived = u64::MAX;
                mappings.short.birth_seconds = value;
                mappings.short.faults.share = Some(value);
                mappings.sizes[0].bytes = u64::MAX;
            });
            let Some(found) = found else { continue };
            let text = format!("{found:?}");
            assert!(!text.contains("NaN") && !text.contains("inf"), "{seconds} {value}: {text}");
        }
    }
}

#[test]
fn many_call_sites_lower_the_confidence() {
    let found = finding(|snapshot, _| {
        let one = snapshot.stacks[0].clone();
        snapshot.stacks = vec![one; 3];
    });
    assert!(near(found.confidence, 0.95 * 0.8));
    let evidence = found.evidence.join("\n");
    assert!(evidence.contains("33 % of the sampled mmap calls"), "{evidence}");
}
