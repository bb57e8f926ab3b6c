use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Instant};

use rustix::time::{ClockId, clock_gettime};
use tracer_common::{ExitTotals, ProcessId, TICK_NS};

use super::grouping::Grouping;
use crate::{
    aggregate::{
        groups::{Belongs, Living},
        looks::Load,
    },
    census::{CgroupNames, CgroupNamespace, GroupName, ProcRoot, ProcessStat, Rule, Subject},
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
/// executes a program or there are other rules.
pub(super) struct Names {
    root: ProcRoot,
    grouping: Grouping,
    rules: Vec<Rule>,
    /// The tracer's own program: it does not trace itself, nor its workers.
    own: Option<PathBuf>,
    cgroups: CgroupNames,
    namespace: CgroupNamespace,
    began: Instant,
    known: HashMap<ProcessId, Known>,
}

struct Known {
    start_ticks: u64,
    comm: String,
    execs: u64,
    group: Arc<str>,
    is_lasting: bool,
    wish: Wish,
}

/// Whether a process may be traced by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// The kernel's own threads, the tracer and its workers.
    Never,
    /// If it is suspicious.
    IfAtAll,
    /// A rule chooses it.
    Always,
}

impl Known {
    fn is(&self, stat: &ProcessStat, execs: u64) -> bool {
        let untouched = self.comm == stat.comm && self.execs == execs;
        self.start_ticks == stat.start_ticks && (untouched || stat.is_kernel_thread)
    }
}

impl Names {
    pub(super) fn new(root: ProcRoot, grouping: Grouping, rules: Vec<Rule>) -> Self {
        let own_id = std::process::id();
        let mut cgroups = CgroupNames::new(root.path(), WALK_INTERVAL_NS);
        let own_group = root.cgroup(own_id);
        let namespace = own_group.map(|path| CgroupNamespace::of(own_id, &path, &mut cgroups));
        Self {
            grouping,
            rules,
            own: root.exe(own_id),
            cgroups,
            namespace: namespace.unwrap_or_default(),
            root,
            began: Instant::now(),
            known: HashMap::new(),
        }
    }

    /// Looks at every process again, to put it into groups in another way.
    pub(super) fn regroup(&mut self, grouping: Grouping) {
        self.grouping = grouping;
        self.known.clear();
    }

    /// Looks at every process again, to choose others.
    pub(super) fn choose(&mut self, rules: Vec<Rule>) {
        self.rules = rules;
        self.known.clear();
    }

    /// The group of a process that `/proc` showed and that has executed so many programs.
    pub(super) fn of(
        &mut self,
        id: ProcessId,
        stat: ProcessStat,
        execs: u64,
        exits: Option<&ExitTotals>,
    ) -> Belongs {
        let forked = stat.start_ticks;
        if self.known.get(&id).is_none_or(|known| !known.is(&stat, execs)) {
            let (group, wish) = match exits {
                // It has executed a program and ended since `/proc` showed it.
                Some(exits) if exits.dead != 0 => (self.name_ended(Some(exits)), Wish::Never),
                _ => self.read(&stat),
            };
            let GroupName { name, is_lasting } = group;
            let (start_ticks, group) = (forked, Arc::from(name));
            let known = Known { start_ticks, comm: stat.comm, execs, group, is_lasting, wish };
            self.known.insert(id, known);
        }
        let known = &self.known[&id];
        // Whom a rule chooses is no passer-by.
        let founds = known.is_lasting
            || known.wish == Wish::Always
            || self.grouping.is_of_age(forked, ticks_since_boot());
        Belongs { to: Arc::clone(&known.group), founds }
    }

    /// The group, and what the rules say.
    fn read(&mut self, stat: &ProcessStat) -> (GroupName, Wish) {
        if stat.is_kernel_thread {
            return (GroupName::lasting(KERNEL), Wish::Never);
        }
        let cgroup = self.root.cgroup(stat.pid).map(|path| self.namespace.from_top(path));
        let exe = self.root.exe(stat.pid);
        let (cgroup, exe) = (cgroup.as_deref(), exe.as_deref());
        cgroup.into_iter().for_each(|path| self.cgroups.learn(path));
        let is_own = exe.is_some() && exe == self.own.as_deref();
        let is_chosen = self.rules.iter().any(|rule| rule.matches(cgroup, exe));
        let wish = match (is_own, is_chosen) {
            (true, _) => Wish::Never,
            (false, false) => Wish::IfAtAll,
            (false, true) => Wish::Always,
        };
        let asked = self.grouping.rules.ask_for_cmdline();
        let cmdline = asked.then(|| self.root.cmdline(stat.pid).join(" "));
        let subject = Subject { exe, comm: &stat.comm, cmdline: cmdline.as_deref(), cgroup };
        (self.grouping.rules.group(&subject), wish)
    }

    /// What the kernel calls a process that has been named.
    pub(super) fn comm(&self, id: ProcessId) -> String {
        self.known.get(&id).map_or_else(String::new, |known| known.comm.clone())
    }

    /// The living processes that rules choose.
    pub(super) fn chosen(&self) -> Vec<Chosen> {
        let chosen = self.known.iter().filter(|(_, known)| known.wish == Wish::Always);
        let chosen = chosen.map(|(id, known)| Chosen {
            process: ProcessId::new(id.pid, known.start_ticks),
            comm: known.comm.clone(),
            group: Arc::clone(&known.group),
        });
        chosen.collect()
    }

    /// The living processes that may be looked at more closely. Costs are asked for by the true start, areas by the
    /// one that the kernel programs know.
    pub(super) fn loads(
        &self,
        cost: impl Fn(ProcessId) -> f64,
        crowding: impl Fn(ProcessId) -> Option<f64>,
    ) -> Vec<Load> {
        let known = self.known.iter().filter(|(_, known)| known.wish != Wish::Never);
        let loads = known.map(|(id, known)| {
            let process = ProcessId::new(id.pid, known.start_ticks);
            Load {
                process,
                comm: known.comm.clone(),
                group: Arc::clone(&known.group),
                cost: cost(process),
                crowding: crowding(*id),
            }
        });
        loads.collect()
    }

    /// The group of a process that ended before anybody looked.
    pub(super) fn ended(&mut self, exits: Option<&ExitTotals>) -> Belongs {
        let GroupName { name, is_lasting } = self.name_ended(exits);
        // How old it became, nobody saw.
        let founds = is_lasting || self.grouping.minimum_age.is_zero();
        Belongs { to: Arc::from(name), founds }
    }

    fn name_ended(&mut self, exits: Option<&ExitTotals>) -> GroupName {
        let Some(exits) = exits else {
            return GroupName::lasting(UNKNOWN);
        };
        let comm = exits.comm.split(|byte| *byte == 0).next().unwrap_or(&[]);
        let comm = String::from_utf8_lossy(comm);
        if comm.starts_with("kworker/") && exits.minor_faults() == 0 {
            return GroupName::lasting(KERNEL);
        }
        let now_ns = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let cgroup = self.cgroups.path(exits.cgroup, now_ns);
        let subject = Subject { comm: &comm, cgroup, ..Subject::default() };
        self.grouping.rules.group(&subject)
    }

    /// Forgets the names of whoever has ended.
    pub(super) fn keep(&mut self, living: &HashMap<ProcessId, Living>) {
        self.known.retain(|id, _| living.contains_key(id));
    }
}

/// As `/proc/PID/stat` has it for the moment of a fork.
fn ticks_since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let ns = now.tv_sec.cast_unsigned().saturating_mul(1_000_000_000);
    ns.saturating_add(now.tv_nsec.cast_unsigned()) / TICK_NS
}
