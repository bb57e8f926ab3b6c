//! Which process of the machine is looked at more closely, and what that found: one whose memory management takes
//! enough of a CPU for a cure to be worth it, or whose areas near their limit. One at a time, the worst first,
//! and no group too often.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use tracer_common::ProcessId;

use crate::diagnose::{Finding, Severity};

/// Of one CPU: what makes a process suspicious, and what it may not fall below to stay so.
const COSTLY: f64 = 0.05;
const STILL_COSTLY: f64 = 0.02;

/// Of the limit of areas.
const CROWDED: f64 = 0.5;

/// A start-up is busy as well, and over soon: it must be suspicious for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a suspicion outlives its last sign.
const MEMORY: Duration = Duration::from_secs(30);

/// Between two looks, at whatever process: on a machine full of suspicious ones each is disturbed seldom.
const BETWEEN: Duration = Duration::from_secs(20);

/// A process as it was over the last interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// With its true start.
    pub process: ProcessId,
    /// The kernel's name for it.
    pub comm: String,
    /// Its group.
    pub group: Arc<str>,
    /// CPU seconds a second that memory management took.
    pub cost: f64,
    /// Its areas, by the limit of areas.
    pub crowding: Option<f64>,
}

/// What the last look at a group found, as long as its process stays suspicious.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The process that was looked at.
    pub process: ProcessId,
    /// The kernel's name for it.
    pub comm: String,
    /// When the look ended.
    pub at: Instant,
    /// Worst first, none without a gain.
    pub findings: Vec<Finding>,
}

/// Looks so far.
pub struct Looks {
    /// How long a group is left alone after a look.
    rest: Duration,
    suspicions: HashMap<ProcessId, Suspicion>,
    open: Option<Load>,
    last_end: Option<Instant>,
    looked_at: HashMap<Arc<str>, Instant>,
    found: BTreeMap<Arc<str>, Found>,
}

/// Since when there is a reason, and when there was one last.
struct Suspicion {
    since: Instant,
    last: Instant,
}

impl Looks {
    /// None yet. A group is left alone for `rest` after each.
    #[must_use]
    pub fn new(rest: Duration) -> Self {
        Self {
            rest,
            suspicions: HashMap::new(),
            open: None,
            last_end: None,
            looked_at: HashMap::new(),
            found: BTreeMap::new(),
        }
    }

    /// Takes in what the living processes did, and says which of them is to be looked at now, if any.
    pub fn begin(&mut self, loads: &[Load], now: Instant) -> Option<Load> {
        self.suspect(loads, now);
        self.found.retain(|_, found| self.suspicions.contains_key(&found.process));
        self.looked_at.retain(|_, at| now - *at < self.rest);
        let rests = self.last_end.is_some_and(|end| now - end < BETWEEN);
        if self.open.is_some() || rests {
            return None;
        }
        let due = loads.iter().filter(|load| self.is_due(load, now));
        let worst = due.max_by(|a, b| badness(a).total_cmp(&badness(b)))?;
        self.open = Some(worst.clone());
        self.open.clone()
    }

    /// The look has ended; without findings it failed.
    pub fn ended(&mut self, findings: Option<Vec<Finding>>, now: Instant) -> Option<Load> {
        let load = self.open.take()?;
        self.last_end = Some(now);
        self.looked_at.insert(Arc::clone(&load.group), now);
        if let Some(mut findings) = findings {
            findings.retain(|finding| finding.severity > Severity::NoGain);
            self.found.remove(&load.group);
            if !findings.is_empty() {
                let (process, comm) = (load.process, load.comm.clone());
                let found = Found { process, comm, at: now, findings };
                self.found.insert(Arc::clone(&load.group), found);
            }
        }
        Some(load)
    }

    /// What is wrong at present, by group.
    #[must_use]
    pub fn found(&self) -> &BTreeMap<Arc<str>, Found> {
        &self.found
    }

    fn suspect(&mut self, loads: &[Load], now: Instant) {
        let mut old = std::mem::take(&mut self.suspicions);
        for load in loads {
            let known = old.remove(&load.process);
            let threshold = if known.is_some() { STILL_COSTLY } else { COSTLY };
            let is_reason = load.cost >= threshold || load.crowding.unwrap_or(0.0) >= CROWDED;
            let suspicion = match known {
                Some(known) if is_reason => Suspicion { last: now, ..known },
                Some(known) if now - known.last < MEMORY => known,
                None if is_reason => Suspicion { since: now, last: now },
                _ => continue,
            };
            self.suspicions.insert(load.process, suspicion);
        }
    }

    fn is_due(&self, load: &Load, now: Instant) -> bool {
        let Some(suspicion) = self.suspicions.get(&load.process) else { return false };
        suspicion.last == now
            && now - suspicion.since >= PATIENCE
            && !self.looked_at.contains_key(&load.group)
    }
}

/// A failure that is coming outranks time that is lost.
fn badness(load: &Load) -> f64 {
    load.cost + load.crowding.filter(|crowding| *crowding >= CROWDED).unwrap_or(0.0)
}
