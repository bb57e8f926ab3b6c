use prometheus::proto::MetricType;
use tracer_common::{LockWaits, Loss, Syscall};

use super::allocator;
use super::duration::{histograms, lock_histograms};
use super::looks;
use super::sample::Sample;
use crate::aggregate::MachineSnapshot;
use crate::aggregate::cpu::SAMPLES_PER_SECOND;
use crate::aggregate::machine::{AreaTotals, CallTotals, GroupTotals, ProgramRuns};
use crate::errno;

/// A metric.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: MetricType,
    pub(super) samples: fn(&MachineSnapshot) -> Vec<Sample>,
}

const fn counter(
    name: &'static str,
    help: &'static str,
    samples: fn(&MachineSnapshot) -> Vec<Sample>,
) -> Row {
    row(name, help, MetricType::COUNTER, samples)
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    samples: fn(&MachineSnapshot) -> Vec<Sample>,
) -> Row {
    row(name, help, MetricType::GAUGE, samples)
}

const fn row(
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: fn(&MachineSnapshot) -> Vec<Sample>,
) -> Row {
    Row { name, help, kind, samples }
}

/// Every metric there is.
#[rustfmt::skip]
pub(super) const METRICS: &[Row] = &[
    counter("alloctrace_syscalls_total", "Memory calls that came to an end.",
        |machine| by_call(machine, |totals| totals.calls as f64)),
    counter("alloctrace_syscall_failures_total", "Memory calls that the kernel refused.", failures),
    counter("alloctrace_syscall_bytes_total", "Bytes that successful memory calls were about.",
        |machine| by_call(machine, |totals| totals.bytes as f64)),
    counter("alloctrace_syscall_seconds_total", "Time in memory calls, waiting included.",
        |machine| by_call(machine, |totals| totals.duration_ns as f64 / 1e9)),
    row("alloctrace_syscall_duration_seconds", "Memory calls of the whole machine by duration.",
        MetricType::HISTOGRAM, histograms),
    counter("alloctrace_page_faults_total", "Page faults; major ones read from a disk.", faults),
    counter("alloctrace_page_fault_seconds_total", "Time in page faults, sampled.", fault_seconds),
    counter("alloctrace_cpu_seconds_total",
        "CPU time by what it went into, estimated from 99 samples a second on each CPU.", cpu_seconds),
    counter("alloctrace_lookups_total", "Look-ups of areas, and searches for room.", lookups),
    counter("alloctrace_mmap_lock_waits_total", "Waits for the lock of an address space.",
        |machine| by_side(machine, |waits| waits.waits as f64)),
    counter("alloctrace_mmap_lock_wait_seconds_total", "Time in those, summed over threads.",
        |machine| by_side(machine, |waits| waits.wait_ns as f64 / 1e9)),
    row("alloctrace_mmap_lock_wait_duration_seconds", "Waits of the whole machine by duration.",
        MetricType::HISTOGRAM, lock_histograms),
    counter("alloctrace_forks_total", "Processes forked.",
        |machine| by_group(machine, |group| group.forks)),
    counter("alloctrace_execs_total", "Programs executed.",
        |machine| by_group(machine, |group| group.execs)),
    counter("alloctrace_exits_total", "Processes ended.",
        |machine| by_group(machine, |group| group.exits)),
    gauge("alloctrace_processes", "Processes that live.",
        |machine| by_group(machine, |group| group.processes)),
    gauge("alloctrace_areas", "Areas (mappings) of the group's process that has most of them.",
        |machine| by_areas(machine, |areas| areas.largest)),
    gauge("alloctrace_areas_of_all_processes", "Areas of all processes of the group.",
        |machine| by_areas(machine, |areas| areas.sum)),
    gauge("alloctrace_holes", "Holes between areas, of the group's process that has most of them.",
        |machine| by_areas(machine, |areas| areas.most_holes)),
    gauge("alloctrace_areas_limit", "Areas that a process may have (vm.max_map_count).",
        |machine| machine.area_counting.limit.map(Sample::count).into_iter().collect()),
    counter("alloctrace_area_counts_total", "Times that a process's areas were counted.",
        |machine| vec![Sample::count(machine.area_counting.counts)]),
    counter("alloctrace_area_count_seconds_total", "Time in counting the areas of processes.",
        |machine| vec![Sample::new(machine.area_counting.seconds)]),
    gauge("alloctrace_area_counts_due", "Processes that wait for their areas to be counted.",
        |machine| vec![Sample::count(machine.area_counting.due)]),
    counter("alloctrace_lost_total", "What is missing in the other metrics, by cause.", lost),
    gauge("alloctrace_probe_attached", "1: the signal is measured; 0: it could not be.", probes),
    counter("alloctrace_program_runs_total", "Runs of the tracer's kernel programs.",
        |machine| by_program(machine, |program| program.runs as f64)),
    counter("alloctrace_program_seconds_total", "Time in the tracer's kernel programs.",
        |machine| by_program(machine, |program| program.seconds)),
    counter("alloctrace_self_cpu_seconds_total", "CPU time of the tracer's own process.",
        |machine| vec![Sample::new(machine.own.cpu_seconds)]),
    gauge("alloctrace_self_resident_memory_bytes", "Resident memory of the tracer's own process.",
        |machine| vec![Sample::count(machine.own.resident_bytes)]),
    counter("alloctrace_allocator_calls_total",
        "Calls of allocators in windows. Estimated, or at least so many, where the budget made for gaps.",
        |machine| allocator::by_function(machine, |sums| Some(sums.calls))),
    counter("alloctrace_allocator_bytes_total",
        "Bytes that those asked for. Estimated, or at least so many, where the budget made for gaps.",
        |machine| allocator::by_function(machine, |sums| sums.bytes)),
    counter("alloctrace_allocator_failures_total",
        "Calls that got nothing of what they asked for, in windows in which every result was seen.",
        |machine| allocator::by_function(machine, |sums| sums.failures)),
    row("alloctrace_allocator_request_bytes",
        "Calls that ask for memory by what they asked for, in windows. Estimated like the calls.",
        MetricType::HISTOGRAM, allocator::requests),
    gauge("alloctrace_allocator_outstanding_bytes",
        "Bytes handed out in the last windows of living processes and not given back in them, estimated.",
        |machine| allocator::by_group(machine,
            |group| group.outstanding.map(|blocks| blocks.bytes as f64))),
    counter("alloctrace_allocator_windows_total", "Windows that ended well.",
        |machine| allocator::by_group(machine, |group| Some(group.windows as f64))),
    counter("alloctrace_allocator_failed_windows_total", "Windows that failed; the log says why.",
        |machine| allocator::by_group(machine, |group| Some(group.failed as f64))),
    counter("alloctrace_allocator_window_seconds_total", "Time in windows, summed over processes.",
        |machine| allocator::by_group(machine, |group| Some(group.seconds))),
    counter("alloctrace_allocator_counted_seconds_total",
        "The part of the time in windows in which every call was counted.",
        |machine| allocator::by_group(machine, |group| Some(group.counted_seconds))),
    counter("alloctrace_allocator_tracing_seconds_total",
        "What tracing took from the processes in windows: hits of probes times their measured price.",
        |machine| allocator::by_group(machine, |group| Some(group.tracing_seconds))),
    gauge("alloctrace_allocator_targets", "Living processes that --malloc chooses.",
        |machine| allocator::by_group(machine, |group| Some(group.targets as f64))),
    gauge("alloctrace_allocator_info", "Always 1: allocators of living processes, from their last windows.",
        allocator::info),
    gauge("alloctrace_allocator_open_windows", "Windows in which something is counted at present.",
        |machine| allocator::of_daemon(machine, |machine| machine.allocator.open as f64)),
    gauge("alloctrace_allocator_budget_ratio", "The part of one CPU that tracing allocators may take.",
        |machine| allocator::of_daemon(machine,
            |machine| machine.allocator.budget.unwrap_or_default())),
    counter("alloctrace_allocator_worker_cpu_seconds_total",
        "CPU time of the workers that have ended; each makes a window.",
        |machine| allocator::of_daemon(machine, |machine| machine.own.children_cpu_seconds)),
    gauge("alloctrace_finding_active",
        "1: a closer look found this, and the process is as busy as it was.",
        |machine| looks::findings(machine, |_| Some(1.0))),
    gauge("alloctrace_finding_saving_cpu_ratio",
        "CPU seconds a second that its cure is predicted to save.",
        |machine| looks::findings(machine,
            |finding| Some(finding.predicted_saving?.cpu_seconds_per_second))),
    counter("alloctrace_closer_looks_total", "Closer looks at processes that ended well.",
        |machine| vec![Sample::count(machine.looks.done)]),
    counter("alloctrace_failed_closer_looks_total", "Closer looks that failed; the log says why.",
        |machine| vec![Sample::count(machine.looks.failed)]),
    gauge("alloctrace_config_last_reload_successful",
        "1: the configuration made sense when it was last read; 0: the one before it stays.",
        |machine| vec![Sample::count(u64::from(machine.config.succeeded))]),
    gauge("alloctrace_config_last_reload_success_timestamp_seconds",
        "When a configuration was last read that made sense.",
        |machine| vec![Sample::new(machine.config.succeeded_at)]),
    gauge("alloctrace_build_info", "Always 1.", build_info),
];

fn calls(machine: &MachineSnapshot) -> impl Iterator<Item = (&String, Syscall, &CallTotals)> {
    machine.groups.iter().flat_map(|(name, group)| {
        let calls = group.syscalls.iter();
        calls.map(move |(syscall, totals)| (name, *syscall, totals))
    })
}

fn by_call(machine: &MachineSnapshot, value: fn(&CallTotals) -> f64) -> Vec<Sample> {
    calls(machine)
        .map(|(group, syscall, totals)| {
            Sample::new(value(totals)).label("group", group).label("syscall", syscall.name())
        })
        .collect()
}

fn by_side(machine: &MachineSnapshot, value: fn(&LockWaits) -> f64) -> Vec<Sample> {
    let waits = machine.groups.iter().flat_map(|(name, group)| {
        group.lock_waits.iter().map(move |(side, waits)| {
            Sample::new(value(waits)).label("group", name).label("side", side.name())
        })
    });
    waits.collect()
}

fn by_group(machine: &MachineSnapshot, value: fn(&GroupTotals) -> u64) -> Vec<Sample> {
    let groups = machine.groups.iter();
    groups.map(|(name, group)| Sample::count(value(group)).label("group", name)).collect()
}

/// Groups of which no process was counted yet have no sample.
fn by_areas(machine: &MachineSnapshot, value: fn(&AreaTotals) -> u64) -> Vec<Sample> {
    let known = machine.groups.iter().filter_map(|(name, group)| {
        let areas = group.areas.as_ref()?;
        Some(Sample::count(value(areas)).label("group", name))
    });
    known.collect()
}

fn by_program(machine: &MachineSnapshot, value: fn(&ProgramRuns) -> f64) -> Vec<Sample> {
    let programs = machine.programs.iter();
    programs.map(|(name, program)| Sample::new(value(program)).label("program", name)).collect()
}

fn failures(machine: &MachineSnapshot) -> Vec<Sample> {
    let by_errno = calls(machine).flat_map(|(group, syscall, totals)| {
        totals.failures.iter().map(move |(errno, calls)| {
            Sample::count(*calls)
                .label("group", group)
                .label("syscall", syscall.name())
                .label("errno", errno::name(*errno))
        })
    });
    by_errno.collect()
}

fn faults(machine: &MachineSnapshot) -> Vec<Sample> {
    let both = machine.groups.iter().flat_map(|(name, group)| {
        [("minor", group.minor_faults), ("major", group.major_faults)]
            .map(|(kind, faults)| Sample::count(faults).label("group", name).label("kind", kind))
    });
    both.collect()
}

fn fault_seconds(machine: &MachineSnapshot) -> Vec<Sample> {
    let known = machine.groups.iter().filter_map(|(name, group)| {
        let time = group.fault_seconds?;
        Some(Sample::new(time).label("group", name))
    });
    known.collect()
}

fn cpu_seconds(machine: &MachineSnapshot) -> Vec<Sample> {
    let places = machine.groups.iter().flat_map(|(name, group)| {
        group.cpu_samples.iter().map(move |(place, samples)| {
            let seconds = *samples as f64 / SAMPLES_PER_SECOND as f64;
            Sample::new(seconds).label("group", name).label("where", place)
        })
    });
    places.collect()
}

fn lookups(machine: &MachineSnapshot) -> Vec<Sample> {
    let functions = machine.groups.iter().flat_map(|(name, group)| {
        group.lookups.iter().map(move |(function, calls)| {
            Sample::count(*calls).label("group", name).label("function", function.name())
        })
    });
    functions.collect()
}

/// Every cause, so that an alert on its rate has a 0 to start from.
fn lost(machine: &MachineSnapshot) -> Vec<Sample> {
    Loss::ALL
        .map(|cause| {
            let number = machine.lost.get(&cause).copied().unwrap_or(0);
            Sample::count(number).label("cause", cause.name())
        })
        .into()
}

fn probes(machine: &MachineSnapshot) -> Vec<Sample> {
    let probes = machine.probes.iter();
    probes
        .map(|probe| {
            Sample::count(u64::from(probe.status == "attached"))
                .label("signal", &probe.signal)
                .label("backend", probe.backend.as_deref().unwrap_or("none"))
        })
        .collect()
}

fn build_info(machine: &MachineSnapshot) -> Vec<Sample> {
    vec![Sample::new(1.0).label("version", &machine.version).label("kernel", &machine.kernel)]
}
