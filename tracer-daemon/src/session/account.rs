//! The closing account of a window: counters, records and `/proc` become one snapshot.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use tracer_common::{ExitTotals, Lookup, ProcessId, Syscall, TICK_NS};

use super::Traced;
use crate::{
    aggregate::{
        Snapshot,
        counters::{Counters, Sum},
        faults::FaultCause,
        kernel_path::KernelNames,
        locks,
        snapshot::{
            Cpu, FaultTotals, FutexTotals, LookupMapping, LookupTotals, MajorFaults, Overhead,
            ProbeStatus, Resident, SyscallTotals, Tracer, Window,
        },
        state::State,
    },
    census::{Area, ProcessStat},
    kernel,
    probes::catalog::FUTEX,
};

const NS: f64 = 1e9;

/// CPU time in seconds.
#[derive(Clone, Copy, Debug, Default)]
struct CpuTime {
    user: f64,
    system: f64,
}

/// Who measured, and how.
pub(super) fn tracer(probes: Vec<ProbeStatus>) -> Tracer {
    Tracer { version: env!("CARGO_PKG_VERSION").to_owned(), kernel: kernel::release(), probes }
}

/// Everything that the account is made from.
pub(super) struct Account<'a, N> {
    pub(super) counters: &'a Counters,
    pub(super) state: &'a State<N>,
    pub(super) living: &'a HashMap<ProcessId, ProcessStat>,
    pub(super) traced: &'a Traced,
    pub(super) window: Duration,
    pub(super) undecodable: u64,
    /// The part of the CPU samples in user mode that are inside an allocator, where stacks tell.
    pub(super) in_allocator: Option<f64>,
    pub(super) run_seconds: Option<f64>,
    /// The target's areas when they were last read; none: they never were.
    pub(super) areas: &'a [Area],
}

impl<N: KernelNames> Account<'_, N> {
    pub(super) fn snapshot(&self, signals: &[ProbeStatus]) -> Snapshot {
        let attached =
            |name: &str| signals.iter().any(|row| row.signal == name && row.backend.is_some());
        let cpu = self.cpu();
        let cpu_seconds = cpu.seconds();
        let lost = self.lost();
        let state = self.state;
        Snapshot {
            target: self.traced.info.clone(),
            window: Window {
                seconds: self.window.as_secs_f64(),
                complete: lost.is_empty(),
                started_at: self.traced.started_at,
            },
            syscalls: Syscall::ALL
                .into_iter()
                .filter(|syscall| attached(syscall.name()))
                .map(|syscall| (syscall.name().to_owned(), self.syscall(syscall)))
                .collect(),
            faults: self.faults(cpu_seconds),
            mappings: (attached("mmap") && attached("munmap"))
                .then(|| state.cycles.snapshot(&state.faults)),
            heap_trims: attached("brk")
                .then(|| state.breaks.snapshot(state.faults.share_of_cause(FaultCause::Trimmed))),
            refaults: state.faults.again(self.traced.process, self.areas),
            major_faults: attached("major_faults").then(|| MajorFaults {
                waited_seconds: self.traced.disk_waits.seconds(),
                waits_seen: self.traced.disk_waits.seen(),
                ..state.major_faults.snapshot(self.traced.process, self.areas)
            }),
            lookups: Lookup::ALL
                .into_iter()
                .filter(|function| attached(function.name()))
                .map(|function| (function.name().to_owned(), self.lookup(function, cpu_seconds)))
                .collect(),
            lock_waits: attached("mmap_lock").then(|| locks::waits(&self.counters.lock_waits)),
            futex_waits: attached(FUTEX).then(|| {
                let all = self.counters.futex_waits.values().copied();
                let sum = all.reduce(Sum::plus).unwrap_or_default();
                FutexTotals { waits: sum.waits, seconds: sum.wait_ns as f64 / NS }
            }),
            cpu_samples: state.cpu.shares(self.in_allocator),
            overhead: self.run_seconds.map(|seconds| Overhead {
                seconds,
                share_of_target: cpu_seconds.filter(|cpu| *cpu > 0.0).map(|cpu| seconds / cpu),
            }),
            resident: Some(Resident {
                before: self.traced.first.resident_bytes,
                after: self.traced.last.resident_bytes,
            }),
            cpu,
            lost,
            ..Snapshot::default()
        }
    }

    fn syscall(&self, syscall: Syscall) -> SyscallTotals {
        let mut totals = SyscallTotals::default();
        let number = syscall as u32;
        for (_, counter) in self.counters.syscalls.iter().filter(|(key, _)| key.syscall == number) {
            totals.calls += counter.calls;
            totals.failures += counter.failures;
            totals.bytes += counter.bytes;
            totals.seconds += counter.duration_ns as f64 / NS;
            for (sum, count) in totals.durations.iter_mut().zip(counter.durations) {
                *sum += count;
            }
        }
        for (key, count) in self.counters.errnos.iter().filter(|(key, _)| key.syscall == number) {
            *totals.errnos.entry(key.errno).or_default() += count;
        }
        totals
    }

    fn lookup(&self, function: Lookup, cpu_seconds: Option<f64>) -> LookupTotals {
        let cpu = &self.state.cpu;
        let samples = cpu.total();
        let share = (samples > 0).then(|| cpu.in_lookup(function) as f64 / samples as f64);
        let counts = self.counters.lookups.values();
        LookupTotals {
            calls: counts.map(|counts| counts.calls[function as usize]).sum(),
            seconds: share.zip(cpu_seconds).map(|(share, seconds)| share * seconds),
            share,
            why: self.state.lookups.why(function),
            paths: self.state.lookup_paths(function),
            mappings: self.mappings(function),
        }
    }

    fn mappings(&self, function: Lookup) -> Vec<LookupMapping> {
        match self.areas {
            [] => Vec::new(),
            areas => self.state.lookups.mappings(function, self.traced.process, areas),
        }
    }

    /// Every process of the window: those that live, and those that left something behind.
    fn processes(&self) -> HashSet<ProcessId> {
        let counters = self.counters;
        let mut all: HashSet<_> =
            self.living.keys().chain(counters.exits.keys()).copied().collect();
        all.insert(self.traced.process);
        all
    }

    fn faults(&self, cpu_seconds: Option<f64>) -> FaultTotals {
        let each: Option<Vec<(u64, u64)>> =
            self.processes().into_iter().map(|process| self.faults_of(process)).collect();
        let sum =
            |part: fn(&(u64, u64)) -> u64| each.as_ref().map(|all| all.iter().map(part).sum());
        let (minor, major) = (sum(|faults| faults.0), sum(|faults| faults.1));
        let total: u64 = minor.unwrap_or(0) + major.unwrap_or(0);
        let (seconds, samples) = self.fault_seconds(total, cpu_seconds);
        FaultTotals { minor, major, seconds, samples }
    }

    /// Minor and major faults of a process within the window.
    fn faults_of(&self, process: ProcessId) -> Option<(u64, u64)> {
        let exits = self.counters.exits.get(&process);
        let (minor, major) = self.faults_ever(process, exits)?;
        let root = process == self.traced.process;
        let first = &self.traced.first;
        let (minor_before, major_before) = match exits {
            Some(exits) if exits.exec_minor + exits.exec_major > 0 => {
                (exits.exec_minor, exits.exec_major)
            }
            _ if root => (first.minor_faults, first.major_faults),
            // Born within the window.
            _ => (0, 0),
        };
        Some((minor.saturating_sub(minor_before), major.saturating_sub(major_before)))
    }

    /// Minor and major faults of a process since it was forked. Every source is at most the truth:
    /// `/proc` forgets a process with its end (but not while it waits for its parent), and kernels
    /// that preempt programs may skip one at a thread's end.
    fn faults_ever(&self, process: ProcessId, exits: Option<&ExitTotals>) -> Option<(u64, u64)> {
        let ended = exits
            .filter(|exits| exits.dead != 0)
            .map(|exits| (exits.minor_faults(), exits.major_faults()));
        let in_proc = |stat: &ProcessStat| (stat.minor_faults, stat.major_faults);
        let seen = self.living.get(&process).map(in_proc);
        let last = (process == self.traced.process).then(|| in_proc(&self.traced.last));
        let sources = [ended, seen, last].into_iter().flatten();
        sources.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
    }

    /// Time in faults, and how many samples that rests on. Where a probe sees a fault's entry and
    /// exit, their mean counts for all; else the clock's samples tell the share of the CPU time.
    fn fault_seconds(&self, faults: u64, cpu_seconds: Option<f64>) -> (Option<f64>, u64) {
        let times = self.counters.fault_times.values();
        let (samples, ns) =
            times.fold((0, 0), |sum, time| (sum.0 + time.samples, sum.1 + time.duration_ns));
        if samples > 0 {
            return (Some(ns as f64 / samples as f64 * faults as f64 / NS), samples);
        }
        let (inside, all) = (self.state.cpu.in_faults(), self.state.cpu.total());
        let share = (all > 0).then(|| inside as f64 / all as f64);
        (share.zip(cpu_seconds).map(|(share, cpu)| share * cpu), inside)
    }

    fn cpu(&self) -> Cpu {
        let (first, last) = (&self.traced.first, &self.traced.last);
        let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 * TICK_NS as f64 / NS;
        let own = CpuTime {
            user: seconds(first.user_ticks, last.user_ticks),
            system: seconds(first.system_ticks, last.system_ticks),
        };
        let others = self.cpu_of_others();
        let switches = self.traced.first_switches.zip(self.traced.last_switches);
        Cpu {
            user_seconds: Some(own.user + others.user),
            system_seconds: Some(own.system + others.system),
            voluntary_switches: switches
                .map(|(first, last)| last.voluntary.saturating_sub(first.voluntary)),
            involuntary_switches: switches
                .map(|(first, last)| last.involuntary.saturating_sub(first.involuntary)),
        }
    }

    /// CPU time of the followed children.
    fn cpu_of_others(&self) -> CpuTime {
        let mut sum = CpuTime::default();
        for process in self.processes().into_iter().filter(|one| *one != self.traced.process) {
            if let Some(exits) = self.counters.exits.get(&process).filter(|one| one.dead != 0) {
                sum.user += exits.user_ns as f64 / NS;
                sum.system += exits.system_ns as f64 / NS;
            } else if let Some(stat) = self.living.get(&process) {
                sum.user += stat.user_ticks as f64 * TICK_NS as f64 / NS;
                sum.system += stat.system_ticks as f64 * TICK_NS as f64 / NS;
            }
        }
        sum
    }

    fn lost(&self) -> BTreeMap<String, u64> {
        let kernel = self.counters.lost.iter().map(|(cause, count)| (cause.name(), *count));
        let own = [
            ("undecodable_records", self.undecodable),
            ("stack_queue", self.state.stacks.not_queued()),
            ("stack_table", self.state.stacks.dropped()),
            ("mapping_table", self.state.untracked),
            ("followed_blocks", self.state.blocks.dropped()),
        ];
        kernel
            .chain(own)
            .filter(|(_, count)| *count > 0)
            .map(|(cause, count)| (cause.to_owned(), count))
            .collect()
    }
}
