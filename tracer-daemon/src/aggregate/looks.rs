//! Which process of the machine is looked at more closely, and what that found: one whose memory management takes
//! enough of a CPU for a cure to be worth it, or whose areas near their limit. One at a time, the worst first,
//! and no group too often.

mod attention;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tracer_common::ProcessId;

pub use self::attention::{Attention, LastLook, Stage};
use crate::diagnose::{Finding, Severity};

/// Of one CPU: what makes a process suspicious, and what it may not fall below to stay so.
const COSTLY: f64 = 0.05;
const STILL_COSTLY: f64 = 0.02;

/// Of the limit of areas.
const CROWDED: f64 = 0.5;

/// In less time a few samples would make a cost.
const SPAN: Duration = Duration::from_secs(4);

/// A start-up is busy as well, and over soon: it must be suspicious for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a suspicion outlives its last sign.
const MEMORY: Duration = Duration::from_secs(30);

/// Between two looks, at whatever process: on a machine full of suspicious ones each is disturbed seldom.
const BETWEEN: Duration = Duration::from_secs(20);

/// How long a look takes: enough for a thousand CPU samples of a busy process, and for what comes once a second.
pub const LENGTH: Duration = Duration::from_secs(10);

/// A process as it was for a while.
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
    spans: Option<Spans>,
    /// Suspicious processes as they were in the last span, and when it ended.
    judged: Vec<Load>,
    judged_at: Option<Instant>,
    suspicions: HashMap<ProcessId, Suspicion>,
    /// The look under way, and when it began.
    open: Option<(Load, Instant)>,
    last_end: Option<Instant>,
    /// Groups that are left alone.
    looked_at: HashMap<Arc<str>, LastLook>,
    found: BTreeMap<Arc<str>, Found>,
}

/// The span under way.
struct Spans {
    began: Instant,
    heard: Instant,
    /// CPU seconds of each process.
    costs: HashMap<ProcessId, f64>,
}

/// Since when there is a reason, and when there was one last.
struct Suspicion {
    since: Instant,
    last: Instant,
}

impl Looks {
    /// None yet. A group is left alone for `rest` after each; no time at all: nobody is looked at.
    #[must_use]
    pub fn new(rest: Duration) -> Self {
        Self {
            rest,
            spans: None,
            judged: Vec::new(),
            judged_at: None,
            suspicions: HashMap::new(),
            open: None,
            last_end: None,
            looked_at: HashMap::new(),
            found: BTreeMap::new(),
        }
    }

    /// From now on a group is left alone for so long.
    pub fn leave_alone_for(&mut self, rest: Duration) {
        self.rest = rest;
    }

    /// Takes in what the living processes did since the last time, and says which of them is to be looked at now,
    /// if any.
    pub fn begin(&mut self, loads: &[Load], now: Instant) -> Option<Load> {
        self.judge(loads, now);
        let living: HashSet<_> = loads.iter().map(|load| load.process).collect();
        self.judged.retain(|load| living.contains(&load.process));
        self.suspicions.retain(|process, _| living.contains(process));
        self.found.retain(|_, found| self.suspicions.contains_key(&found.process));
        self.looked_at.retain(|_, look| now - look.at < self.rest);
        if self.rest.is_zero() {
            self.found.clear();
            return None;
        }
        let rests = self.last_end.is_some_and(|end| now - end < BETWEEN);
        if self.open.is_some() || rests {
            return None;
        }
        let due = self.judged.iter().filter(|load| self.is_due(load));
        let worst = due.max_by(|a, b| badness(a).total_cmp(&badness(b)))?;
        let worst = worst.clone();
        self.open = Some((worst.clone(), now));
        Some(worst)
    }

    /// The look has ended, with findings or a reason why it told nothing.
    pub fn ended(&mut self, findings: Result<Vec<Finding>, String>, now: Instant) -> Option<Load> {
        let (load, _) = self.open.take()?;
        self.last_end = Some(now);
        let failure = findings.as_ref().err().cloned();
        self.looked_at.insert(Arc::clone(&load.group), LastLook { at: now, failure });
        if let Ok(mut findings) = findings {
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

    /// At the end of a span.
    fn judge(&mut self, loads: &[Load], now: Instant) {
        let spans = self.spans.get_or_insert_with(|| Spans::begin(now));
        let passed = now - std::mem::replace(&mut spans.heard, now);
        for load in loads {
            *spans.costs.entry(load.process).or_default() += load.cost * passed.as_secs_f64();
        }
        let (began, length) = (spans.began, now - spans.began);
        if length < SPAN {
            return;
        }
        let costs = std::mem::replace(spans, Spans::begin(now)).costs;
        let mean = |load: &Load| costs[&load.process] / length.as_secs_f64();
        self.judged.clear();
        self.judged_at = Some(now);
        let mut old = std::mem::take(&mut self.suspicions);
        for load in loads {
            let cost = mean(load);
            let known = old.remove(&load.process);
            let threshold = if known.is_some() { STILL_COSTLY } else { COSTLY };
            let is_reason = cost >= threshold || load.crowding.unwrap_or(0.0) >= CROWDED;
            let suspicion = match known {
                Some(known) if is_reason => Suspicion { last: now, ..known },
                Some(known) if now - known.last < MEMORY => known,
                None if is_reason => Suspicion { since: began, last: now },
                _ => continue,
            };
            self.suspicions.insert(load.process, suspicion);
            self.judged.push(Load { cost, ..load.clone() });
        }
    }

    fn is_due(&self, load: &Load) -> bool {
        let Some(suspicion) = self.suspicions.get(&load.process) else { return false };
        Some(suspicion.last) == self.judged_at
            && suspicion.last - suspicion.since >= PATIENCE
            && !self.looked_at.contains_key(&load.group)
    }
}

impl Spans {
    fn begin(now: Instant) -> Self {
        Self { began: now, heard: now, costs: HashMap::new() }
    }
}

/// A failure that is coming outranks time that is lost.
fn badness(load: &Load) -> f64 {
    load.cost + load.crowding.filter(|crowding| *crowding >= CROWDED).unwrap_or(0.0)
}
