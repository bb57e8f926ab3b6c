//! How fast it goes: what groups and processes did between two samples, worst first.

mod reading;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::Serialize;
use tracer_common::{FaultTime, ProcessId};

use self::reading::{Reading, fault_seconds};
use super::{counters::Counters, groups::Living, machine::GroupTotals};

const NS: f64 = 1e9;

/// Processes that are named, at the most.
pub const MOST_PROCESSES: usize = 100;

/// What happened in each second, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Memory calls.
    #[serde(rename = "calls_per_second")]
    pub calls: f64,
    /// Page faults of both kinds.
    #[serde(rename = "faults_per_second")]
    pub faults: f64,
    /// Those that read from a disk.
    #[serde(rename = "major_faults_per_second")]
    pub major_faults: f64,
    /// Seconds in calls and faults, waiting included, summed over threads: the time of calls is exact, that of
    /// faults sampled. Without a sample of a fault, of calls alone.
    #[serde(rename = "time_share")]
    pub time: f64,
    /// CPU seconds that the kernel spent on memory, sampled.
    #[serde(rename = "cpu_share")]
    pub cpu: Option<f64>,
}

impl Rates {
    /// By which the worst is told: seconds in each second, whichever of the two is more.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.time.max(self.cpu.unwrap_or(0.0))
    }
}

/// A group between two samples.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRates {
    /// Its name.
    pub name: String,
    /// Processes that live.
    pub processes: u64,
    /// Areas of the process that has most, if they were counted.
    pub areas: Option<u64>,
    /// What it did.
    pub rates: Rates,
}

/// A living process between two samples.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessRates {
    /// Its number, and when it was forked, in ticks since boot.
    pub process: ProcessId,
    /// The kernel's name for it.
    pub comm: String,
    /// Its group.
    pub group: Arc<str>,
    /// Its areas, if they were counted.
    pub areas: Option<u64>,
    /// What it did.
    pub rates: Rates,
}

/// The time between two samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interval {
    /// How long it was.
    pub seconds: f64,
    /// Every group, worst first.
    pub groups: Vec<GroupRates>,
    /// The worst processes of those that live.
    pub processes: Vec<ProcessRates>,
}

/// Where the machine stands, as one sample has it.
pub struct Standing<'a> {
    /// Monotonic time.
    pub now_ns: u64,
    /// Whether CPU samples are taken.
    pub has_cpu: bool,
    /// Totals so far.
    pub groups: &'a BTreeMap<String, GroupTotals>,
    /// The counters that those come from.
    pub counters: &'a Counters,
    /// Who lives.
    pub living: &'a HashMap<ProcessId, Living>,
}

/// The last sample, as far as rates want it.
#[derive(Default)]
pub struct Pace {
    at_ns: Option<u64>,
    groups: HashMap<String, (Reading, Option<f64>)>,
    processes: HashMap<ProcessId, (Reading, FaultTime)>,
}

impl Pace {
    /// What happened since the last sample; `None`: there was none, or no time has passed. `comm` names a process.
    pub fn step(
        &mut self,
        standing: &Standing<'_>,
        comm: impl Fn(ProcessId) -> String,
    ) -> Option<Interval> {
        let groups = standing.groups.iter();
        let groups = groups
            .map(|(name, totals)| (name.clone(), (Reading::of_group(totals), totals.fault_seconds)))
            .collect();
        let processes = reading::of_processes(standing);
        let (last_groups, last_processes) = (
            std::mem::replace(&mut self.groups, groups),
            std::mem::replace(&mut self.processes, processes),
        );
        let last_ns = self.at_ns.replace(standing.now_ns)?;
        let seconds = standing.now_ns.saturating_sub(last_ns) as f64 / NS;
        (seconds > 0.0).then(|| Interval {
            seconds,
            groups: self.groups_since(&last_groups, standing, seconds),
            processes: self.processes_since(&last_processes, standing, seconds, comm),
        })
    }

    fn groups_since(
        &self,
        last: &HashMap<String, (Reading, Option<f64>)>,
        standing: &Standing<'_>,
        seconds: f64,
    ) -> Vec<GroupRates> {
        let rates = standing.groups.iter().filter_map(|(name, totals)| {
            let (now, faulted) = self.groups.get(name)?;
            let (before, faulted_before) = last.get(name).copied().unwrap_or_default();
            let in_faults = faulted.unwrap_or(0.0) - faulted_before.unwrap_or(0.0);
            Some(GroupRates {
                name: name.clone(),
                processes: totals.processes,
                areas: totals.areas.map(|areas| areas.largest),
                rates: now.since(before).rates(in_faults, seconds, standing.has_cpu),
            })
        });
        let mut rates: Vec<_> = rates.collect();
        rates.sort_by(|one, other| worst_first(&one.rates, &other.rates));
        rates
    }

    fn processes_since(
        &self,
        last: &HashMap<ProcessId, (Reading, FaultTime)>,
        standing: &Standing<'_>,
        seconds: f64,
        comm: impl Fn(ProcessId) -> String,
    ) -> Vec<ProcessRates> {
        let rates = self.processes.iter().filter_map(|(id, (now, timed))| {
            let live = standing.living.get(id)?;
            // Everybody was there to be seen: whoever is new has done all of it since.
            let (before, timed_before) = last.get(id).copied().unwrap_or_default();
            let grown = now.since(before);
            let in_faults = fault_seconds(grown.faults(), *timed, timed_before);
            let rates = grown.rates(in_faults, seconds, standing.has_cpu);
            (rates.calls + rates.faults + rates.cost() > 0.0).then_some((id, live, rates))
        });
        let mut rates: Vec<_> = rates.collect();
        rates.sort_by(|(one_id, _, one), (other_id, _, other)| {
            worst_first(one, other).then(one_id.pid.cmp(&other_id.pid))
        });
        rates.truncate(MOST_PROCESSES);
        let named = rates.into_iter().map(|(id, live, rates)| ProcessRates {
            process: ProcessId::new(id.pid, live.start_ticks),
            comm: comm(*id),
            group: Arc::clone(&live.group.to),
            areas: live.areas.map(|count| count.areas),
            rates,
        });
        named.collect()
    }
}

fn worst_first(one: &Rates, other: &Rates) -> std::cmp::Ordering {
    let key = |rates: &Rates| [rates.cost(), rates.calls + rates.faults];
    let [one, other] = [key(one), key(other)];
    other[0].total_cmp(&one[0]).then(other[1].total_cmp(&one[1]))
}
