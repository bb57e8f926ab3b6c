use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use tracer_common::{ExitTotals, ProcessId};

use crate::{
    aggregate::groups::Living,
    census::{CgroupNames, ProcRoot, ProcessStat, Rule, group_name},
};

/// The group of the kernel's own threads: their names hold numbers, and change.
const KERNEL: &str = "kernel";
/// The group of what has counters and nothing else.
const UNKNOWN: &str = "unknown";
/// A walk through thousands of control groups takes milliseconds.
const WALK_INTERVAL_NS: u64 = 10_000_000_000;

/// A process whose allocator is to be traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// With its true start, also where the kernel programs do not know it.
    pub process: ProcessId,
    /// The kernel's name for it.
    pub comm: String,
    /// Its group.
    pub group: Arc<str>,
}

/// The groups of processes, and which of them rules choose. Each is looked at once, and again when it
/// executes a program.
pub(super) struct Names {
    root: ProcRoot,
    rules: Vec<Rule>,
    /// The tracer's own program: it does not trace itself, nor its workers.
    own: Option<PathBuf>,
    cgroups: CgroupNames,
    began: Instant,
    known: HashMap<ProcessId, Known>,
}

struct Known {
    start_ticks: u64,
    comm: String,
    execs: u64,
    group: Arc<str>,
    is_chosen: bool,
}

impl Names {
    pub(super) fn new(root: ProcRoot, rules: Vec<Rule>) -> Self {
        Self {
            rules,
            own: root.exe(std::process::id()),
            cgroups: CgroupNames::new(root.path(), WALK_INTERVAL_NS),
            root,
            began: Instant::now(),
            known: HashMap::new(),
        }
    }

    /// The group of a process that `/proc` showed and that has executed so many programs.
    pub(super) fn of(
        &mut self,
        id: ProcessId,
        stat: ProcessStat,
        execs: u64,
        exits: Option<&ExitTotals>,
    ) -> Arc<str> {
        let same = |known: &&Known| {
            let untouched = known.comm == stat.comm && known.execs == execs;
            known.start_ticks == stat.start_ticks && (untouched || stat.is_kernel_thread)
        };
        if let Some(known) = self.known.get(&id).filter(same) {
            return Arc::clone(&known.group);
        }
        let (group, is_chosen) = match exits {
            // It has executed a program and ended since `/proc` showed it.
            Some(exits) if exits.dead != 0 => (self.ended(Some(exits)), false),
            _ => self.read(&stat),
        };
        let known = Known {
            start_ticks: stat.start_ticks,
            comm: stat.comm,
            execs,
            group: Arc::clone(&group),
            is_chosen,
        };
        self.known.insert(id, known);
        group
    }

    /// The group, and whether a rule chooses the process.
    fn read(&self, stat: &ProcessStat) -> (Arc<str>, bool) {
        if stat.is_kernel_thread {
            return (Arc::from(KERNEL), false);
        }
        let (cgroup, exe) = (self.root.cgroup(stat.pid), self.root.exe(stat.pid));
        let (cgroup, exe) = (cgroup.as_deref(), exe.as_deref());
        let is_own = exe.is_some() && exe == self.own.as_deref();
        let is_chosen = !is_own && self.rules.iter().any(|rule| rule.matches(cgroup, exe));
        (Arc::from(group_name(cgroup, exe, &stat.comm)), is_chosen)
    }

    /// What the kernel calls a process that has been named.
    pub(super) fn comm(&self, id: ProcessId) -> String {
        self.known.get(&id).map_or_else(String::new, |known| known.comm.clone())
    }

    /// The living processes that rules choose.
    pub(super) fn chosen(&self) -> Vec<Chosen> {
        let chosen = self.known.iter().filter(|(_, known)| known.is_chosen);
        let chosen = chosen.map(|(id, known)| Chosen {
            process: ProcessId::new(id.pid, known.start_ticks),
            comm: known.comm.clone(),
            group: Arc::clone(&known.group),
        });
        chosen.collect()
    }

    /// The group of a process that ended before anybody looked.
    pub(super) fn ended(&mut self, exits: Option<&ExitTotals>) -> Arc<str> {
        let Some(exits) = exits else {
            return Arc::from(UNKNOWN);
        };
        let comm = exits.comm.split(|byte| *byte == 0).next().unwrap_or(&[]);
        let comm = String::from_utf8_lossy(comm);
        if comm.starts_with("kworker/") && exits.minor_faults() == 0 {
            return Arc::from(KERNEL);
        }
        let now_ns = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let cgroup = self.cgroups.path(exits.cgroup, now_ns);
        Arc::from(group_name(cgroup, None::<&Path>, &comm))
    }

    /// Forgets the names of whoever has ended.
    pub(super) fn keep(&mut self, living: &HashMap<ProcessId, Living>) {
        self.known.retain(|id, _| living.contains_key(id));
    }
}
