use std::collections::{BTreeMap, BTreeSet};

use tracer_common::{Lookup, Loss, Syscall};

use super::{table::METRICS, *};
use crate::aggregate::allocator_windows::{AllocatorGroup, AllocatorTotals, FunctionSums};
use crate::aggregate::machine::{AreaCounting, AreaTotals, CallTotals, GroupTotals};
use crate::aggregate::snapshot::{BlockSum, ProbeStatus};

fn group() -> GroupTotals {
    let mut mmap = CallTotals {
        calls: 7,
        failures: BTreeMap::from([(12, 2), (133, 1)]),
        bytes: 4096,
        duration_ns: 2_500_000_000,
        ..CallTotals::default()
    };
    (mmap.durations[9], mmap.durations[11], mmap.durations[31]) = (4, 2, 1);
    GroupTotals {
        syscalls: BTreeMap::from([(Syscall::Mmap, mmap)]),
        minor_faults: 12,
        cpu_samples: BTreeMap::from([("user", 198), ("fault", 99)]),
        lookups: BTreeMap::from([(Lookup::VmUnmappedArea, 8)]),
        forks: 3,
        processes: 2,
        areas: Some(AreaTotals { largest: 9053, sum: 9100, most_holes: 4203 }),
        ..GroupTotals::default()
    }
}

fn machine(names: &[&str]) -> MachineSnapshot {
    MachineSnapshot {
        version: "0.1.0".to_owned(),
        kernel: "6.12".to_owned(),
        groups: names.iter().map(|name| ((*name).to_owned(), group())).collect(),
        lost: BTreeMap::from([(Loss::FaultRecords, 5)]),
        area_counting: AreaCounting { limit: Some(65_530), counts: 4, seconds: 0.5, due: 1 },
        probes: vec![ProbeStatus {
            signal: "faults".to_owned(),
            status: "failed".to_owned(),
            ..ProbeStatus::default()
        }],
        ..MachineSnapshot::default()
    }
}

/// The names and labels of every sample, with its value; checks the syntax on the way.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        let (series, value) = line.rsplit_once(' ').expect(line);
        let name = series.split('{').next().expect(line);
        assert!(name.starts_with("alloctrace_"), "{line}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
        assert!(series == name || series.ends_with("\"}"), "{line}");
        let old = samples.insert(series.to_owned(), value.parse().expect(line));
        assert!(old.is_none(), "twice: {line}");
    }
    samples
}

#[test]
fn counters_are_what_was_counted() {
    let samples = parse(&render(&machine(&["web"])).expect("rendered"));
    for (series, value) in [
        ("alloctrace_syscalls_total{group=\"web\",syscall=\"mmap\"}", 7.0),
        ("alloctrace_syscall_bytes_total{group=\"web\",syscall=\"mmap\"}", 4096.0),
        ("alloctrace_syscall_seconds_total{group=\"web\",syscall=\"mmap\"}", 2.5),
        ("alloctrace_syscall_failures_total{group=\"web\",syscall=\"mmap\",errno=\"ENOMEM\"}", 2.0),
        ("alloctrace_page_faults_total{group=\"web\",kind=\"minor\"}", 12.0),
        ("alloctrace_page_faults_total{group=\"web\",kind=\"major\"}", 0.0),
        ("alloctrace_cpu_seconds_total{group=\"web\",where=\"user\"}", 2.0),
        ("alloctrace_cpu_seconds_total{group=\"web\",where=\"fault\"}", 1.0),
        ("alloctrace_lookups_total{group=\"web\",function=\"vm_unmapped_area\"}", 8.0),
        ("alloctrace_forks_total{group=\"web\"}", 3.0),
        ("alloctrace_processes{group=\"web\"}", 2.0),
        ("alloctrace_areas{group=\"web\"}", 9053.0),
        ("alloctrace_areas_of_all_processes{group=\"web\"}", 9100.0),
        ("alloctrace_holes{group=\"web\"}", 4203.0),
        ("alloctrace_areas_limit", 65_530.0),
        ("alloctrace_area_counts_total", 4.0),
        ("alloctrace_area_count_seconds_total", 0.5),
        ("alloctrace_area_counts_due", 1.0),
        ("alloctrace_lost_total{cause=\"fault_records\"}", 5.0),
        ("alloctrace_lost_total{cause=\"missed_return\"}", 0.0),
        ("alloctrace_probe_attached{signal=\"faults\",backend=\"none\"}", 0.0),
        ("alloctrace_self_resident_memory_bytes", 0.0),
        ("alloctrace_build_info{version=\"0.1.0\",kernel=\"6.12\"}", 1.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series} in {samples:#?}");
    }
    let unknown = |series: &&String| series.contains("page_fault_seconds");
    assert_eq!(samples.keys().find(unknown), None, "unknown is not 0");
}

#[test]
fn histograms_add_up() {
    let samples = parse(&render(&machine(&["a", "b"])).expect("rendered"));
    let bucket = |le: &str| {
        let series =
            format!("alloctrace_syscall_duration_seconds_bucket{{syscall=\"mmap\",le=\"{le}\"}}");
        samples.get(&series).copied()
    };
    assert_eq!(bucket("0.000001024"), Some(8.0));
    assert_eq!(bucket("0.000004096"), Some(12.0));
    assert_eq!(bucket("1.073741824"), Some(12.0), "the open bucket is in none");
    assert_eq!(bucket("+Inf"), Some(14.0));
    let count = "alloctrace_syscall_duration_seconds_count{syscall=\"mmap\"}";
    assert_eq!(samples.get(count), Some(&14.0));
    let sum = "alloctrace_syscall_duration_seconds_sum{syscall=\"mmap\"}";
    assert_eq!(samples.get(sum), Some(&5.0));
    let buckets = samples.keys().filter(|name| name.contains("_bucket{"));
    assert_eq!(buckets.count(), 12);
}

#[test]
fn windows_over_allocators_are_samples() {
    let malloc = FunctionSums { calls: 7, bytes: Some(1300), failures: Some(1) };
    let free = FunctionSums { calls: 5, ..FunctionSums::default() };
    let web = AllocatorGroup {
        functions: BTreeMap::from([("malloc", malloc), ("free", free)]),
        sizes: BTreeMap::from([(0, 1), (4, 2), (5, 1), (10, 2), (40, 1)]),
        windows: 3,
        seconds: 30.5,
        targets: 2,
        outstanding: Some(BlockSum { blocks: 2, bytes: 200 }),
        allocators: BTreeMap::from([(("glibc".to_owned(), "2\n\"3".to_owned()), 2)]),
        ..AllocatorGroup::default()
    };
    let groups = BTreeMap::from([
        ("web".to_owned(), web),
        ("new".to_owned(), AllocatorGroup { failed: 1, ..AllocatorGroup::default() }),
    ]);
    let mut machine = machine(&[]);
    machine.own.children_cpu_seconds = 1.5;
    machine.allocator = AllocatorTotals { groups, budget: Some(0.01), open: 1 };
    let samples = parse(&render(&machine).expect("rendered"));
    let value = |series: &str| samples.get(&format!("alloctrace_allocator_{series}")).copied();
    for (series, expected) in [
        ("calls_total{group=\"web\",function=\"malloc\"}", 7.0),
        ("calls_total{group=\"web\",function=\"free\"}", 5.0),
        ("bytes_total{group=\"web\",function=\"malloc\"}", 1300.0),
        ("failures_total{group=\"web\",function=\"malloc\"}", 1.0),
        ("request_bytes_bucket{group=\"web\",le=\"16\"}", 3.0),
        ("request_bytes_bucket{group=\"web\",le=\"64\"}", 4.0),
        ("request_bytes_bucket{group=\"web\",le=\"1024\"}", 6.0),
        ("request_bytes_bucket{group=\"web\",le=\"4294967296\"}", 6.0),
        ("request_bytes_bucket{group=\"web\",le=\"+Inf\"}", 7.0),
        ("request_bytes_count{group=\"web\"}", 7.0),
        ("request_bytes_sum{group=\"web\"}", 1300.0),
        ("outstanding_bytes{group=\"web\"}", 200.0),
        ("windows_total{group=\"web\"}", 3.0),
        ("failed_windows_total{group=\"web\"}", 0.0),
        ("failed_windows_total{group=\"new\"}", 1.0),
        ("window_seconds_total{group=\"web\"}", 30.5),
        ("targets{group=\"web\"}", 2.0),
        ("info{group=\"web\",allocator=\"glibc\",version=\"2\\n\\\"3\"}", 1.0),
        ("open_windows", 1.0),
        ("budget_ratio", 0.01),
        ("worker_cpu_seconds_total", 1.5),
    ] {
        assert_eq!(value(series), Some(expected), "{series}");
    }
    for unknown in [
        "bytes_total{group=\"web\",function=\"free\"}",
        "failures_total{group=\"web\",function=\"free\"}",
        "outstanding_bytes{group=\"new\"}",
        "request_bytes_count{group=\"new\"}",
    ] {
        assert_eq!(value(unknown), None, "{unknown}");
    }
}

#[test]
fn hostile_names_stay_in_their_place() {
    let longest = "x".repeat(sample::LONGEST_LABEL);
    let (long, longer) = ("x".repeat(1000), "x".repeat(1001));
    let names = ["a\nb\"c\\d", "\x1b[2J", "\x07[2J", &longest, &long, &longer];
    let text = render(&machine(&names)).expect("rendered");
    let samples = parse(&text);
    let forks = |group: &str| format!("alloctrace_forks_total{{group=\"{group}\"}}");
    assert!(samples.contains_key(&forks("a\\nb\\\"c\\\\d")), "{text}");
    assert!(samples.contains_key(&forks(&longest)));
    assert!(!text.contains('\x1b'));
    let all = samples.keys().filter(|series| series.starts_with("alloctrace_forks_total"));
    assert_eq!(all.count(), names.len(), "all are told apart");
    for line in text.lines().filter(|line| line.contains("forks_total{")) {
        assert!(line.chars().count() < 2 * sample::LONGEST_LABEL, "{line}");
    }
}

#[test]
fn names_follow_the_conventions() {
    let mut names = BTreeSet::new();
    for row in METRICS {
        let is_counter = row.kind == prometheus::proto::MetricType::COUNTER;
        assert_eq!(row.name.ends_with("_total"), is_counter, "{}", row.name);
        assert!(row.help.ends_with('.') && names.insert(row.name), "{}", row.name);
    }
}

#[test]
fn an_empty_machine_is_rendered() {
    let text = render(&MachineSnapshot::default()).expect("rendered");
    let samples = parse(&text);
    assert!(samples.len() > Loss::ALL.len());
    let unknown =
        ["alloctrace_areas", "alloctrace_areas_limit", "alloctrace_allocator_budget_ratio"];
    assert!(unknown.iter().all(|name| !samples.contains_key(*name)), "unknown is not 0");
}

/// Names of metrics in what is given to Prometheus and Grafana. Those that a rule makes have a `:` before.
fn metrics_in(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | ':');
    text.split(move |letter| !is_name(letter)).filter(|word| word.starts_with("alloctrace_"))
}

#[test]
fn rules_and_dashboards_ask_for_metrics_that_there_are() {
    let deploy = [
        include_str!("../../../../deploy/prometheus/alloctrace.rules.yml"),
        include_str!("../../../../deploy/prometheus/alloctrace.alerts.yml"),
        include_str!("../../../../deploy/prometheus/alloctrace.test.yml"),
        include_str!("../../../../deploy/grafana/alloctrace.json"),
    ];
    for text in deploy {
        assert!(metrics_in(text).next().is_some());
        for name in metrics_in(text) {
            let row = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(METRICS.iter().any(|metric| metric.name == row), "{name}");
        }
    }
}
