//! From absolute counters of processes to totals of groups that never go down: what a process has
//! added since it was last looked at goes to the group that it is in now.

mod group;
mod member;
mod since;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use tracer_common::{ExitTotals, ProcessId, Syscall};

use self::{
    group::Group,
    member::{Member, Stage},
};
use super::{counters::Counters, machine::GroupTotals};

/// Groups with a name of their own. Names are chosen by whoever starts processes.
const MOST_GROUPS: usize = 1000;
/// The group of those beyond.
const OTHER: &str = "other";

/// Page faults since a process was forked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Without a read from disk.
    pub minor: u64,
    /// With one.
    pub major: u64,
}

impl Faults {
    fn max(self, other: Self) -> Self {
        Self {
            minor: self.minor.max(other.minor),
            major: self.major.max(other.major),
        }
    }

    fn at_end(exits: &ExitTotals) -> Self {
        Self {
            minor: exits.earlier_minor.saturating_add(exits.minor),
            major: exits.earlier_major.saturating_add(exits.major),
        }
    }
}

/// A process that has not ended, as `/proc` shows it.
#[derive(Clone, Debug)]
pub struct Living {
    /// When it was forked.
    pub start_ticks: u64,
    /// Its group at present.
    pub group: Arc<str>,
    /// Its faults so far.
    pub faults: Faults,
}

/// Everything counted so far.
pub struct Groups {
    started_ticks: u64,
    measured: Vec<Syscall>,
    members: HashMap<ProcessId, Member>,
    /// Processes with counters that nothing else is known of: they may have been born between the
    /// reading of `/proc` and that of the counters.
    strangers: HashSet<ProcessId>,
    groups: BTreeMap<Arc<str>, Group>,
}

impl Groups {
    /// Nothing counted. Processes that were forked until `started_ticks` count their faults from
    /// the first reading on; `measured` are the calls that have a probe.
    #[must_use]
    pub fn new(started_ticks: u64, measured: Vec<Syscall>) -> Self {
        Self {
            started_ticks,
            measured,
            members: HashMap::new(),
            strangers: HashSet::new(),
            groups: BTreeMap::new(),
        }
    }

    /// Takes in a reading: first `living`, then `counters` must have been read. `name` names the
    /// group of a process that ended without having been seen. Returns the processes that nothing
    /// counts for any more, for the kernel to forget.
    pub fn apply(
        &mut self,
        counters: &Counters,
        living: &HashMap<ProcessId, Living>,
        name: impl FnMut(Option<&ExitTotals>) -> Arc<str>,
    ) -> Vec<ProcessId> {
        self.admit_living(living);
        self.admit_ended(counters, name);
        self.look(counters, living);
        self.count(counters);
        self.groups.values_mut().for_each(Group::reckon_fault_time);
        self.dismiss(living)
    }

    /// The groups as they stand.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<String, GroupTotals> {
        let groups = self.groups.iter();
        groups
            .map(|(name, group)| (name.as_ref().to_owned(), group.totals.clone()))
            .collect()
    }

    fn admit_living(&mut self, living: &HashMap<ProcessId, Living>) {
        for (id, live) in living {
            let group = self.enter(&live.group);
            let first = self.first_faults(live.start_ticks, live.faults);
            let Some(member) = self.members.get_mut(id) else {
                let member = Member::new(group, live.start_ticks, Stage::Alive, first);
                self.members.insert(*id, member);
                continue;
            };
            // The kernel may not tell processes of one pid apart; `/proc` does.
            if member.start_ticks != live.start_ticks {
                if let Some(old) = self.groups.get_mut(&member.group) {
                    old.totals.exits += 1;
                }
                member.start_ticks = live.start_ticks;
                member.stage = Stage::Alive;
                member.faults = first;
            }
            member.group = group;
        }
    }

    fn admit_ended(
        &mut self,
        counters: &Counters,
        mut name: impl FnMut(Option<&ExitTotals>) -> Arc<str>,
    ) {
        let mut strangers = HashSet::new();
        for id in counters.processes() {
            if self.members.contains_key(&id) {
                continue;
            }
            let exits = counters.exits.get(&id);
            if exits.is_none_or(|exits| exits.dead == 0) && !self.strangers.contains(&id) {
                strangers.insert(id);
                continue;
            }
            let group = self.enter(&name(exits));
            let faults = exits.map(Faults::at_end).unwrap_or_default();
            let first = self.first_faults(id.start_ticks, faults);
            // Without a trace of its end, nobody knows whether it has been counted.
            let ended =
                exits.is_some() || counters.lifecycles.get(&id).is_some_and(|l| l.exits > 0);
            let stage = if ended { Stage::Missing } else { Stage::Ended };
            let member = Member::new(group, id.start_ticks, stage, first);
            self.members.insert(id, member);
        }
        self.strangers = strangers;
    }

    /// Faults before the first reading belong to nobody, unless all of the process's life does.
    fn first_faults(&self, start_ticks: u64, reading: Faults) -> Faults {
        if start_ticks > self.started_ticks {
            Faults::default()
        } else {
            reading
        }
    }

    /// The group of that name, or the one that stands for too many.
    fn enter(&mut self, name: &Arc<str>) -> Arc<str> {
        if self.groups.contains_key(name) {
            return Arc::clone(name);
        }
        let name = if self.groups.len() < MOST_GROUPS {
            Arc::clone(name)
        } else {
            Arc::from(OTHER)
        };
        self.groups
            .entry(Arc::clone(&name))
            .or_insert_with(|| Group::new(&self.measured));
        name
    }

    /// Who lives, who has ended, and the faults of both.
    fn look(&mut self, counters: &Counters, living: &HashMap<ProcessId, Living>) {
        for group in self.groups.values_mut() {
            group.totals.processes = 0;
        }
        for (id, member) in &mut self.members {
            let Some(group) = self.groups.get_mut(&member.group) else {
                continue;
            };
            let (live, exits) = (living.get(id), counters.exits.get(id));
            let dead = exits.is_some_and(|exits| exits.dead != 0);
            member.stage = member.stage.next(live.is_some(), dead);
            let mut faults = live.map_or(member.faults, |live| live.faults);
            if member.stage.is_over()
                && let Some(exits) = exits
            {
                faults = faults.max(Faults::at_end(exits));
            }
            group.add_faults(member.faults_since(faults));
            group.totals.processes += u64::from(member.stage == Stage::Alive);
            group.totals.exits += u64::from(member.stage == Stage::Ended);
        }
    }

    fn count(&mut self, counters: &Counters) {
        let (members, groups) = (&mut self.members, &mut self.groups);
        let mut with = |id: &ProcessId, add: &mut dyn FnMut(&mut Member, &mut Group)| {
            if let Some(member) = members.get_mut(id)
                && let Some(group) = groups.get_mut(&member.group)
            {
                add(member, group);
            }
        };
        for (key, counter) in &counters.syscalls {
            let Some(call) = Syscall::from_u32(key.syscall) else {
                continue;
            };
            with(&key.process, &mut |member, group| {
                group.add_calls(call, &member.calls_since(key.syscall, *counter));
            });
        }
        for (key, count) in &counters.errnos {
            let Some(call) = Syscall::from_u32(key.syscall) else {
                continue;
            };
            with(&key.process, &mut |member, group| {
                let grown = member.failures_since(key.syscall, key.errno, *count);
                group.add_failures(call, key.errno, grown);
            });
        }
        for (id, time) in &counters.fault_times {
            with(id, &mut |member, group| {
                group.add_fault_time(member.fault_time_since(*time));
            });
        }
        for (id, lifecycle) in &counters.lifecycles {
            with(id, &mut |member, group| {
                group.add_lifecycle(&member.lifecycle_since(*lifecycle));
            });
        }
    }

    /// The last thread may still be on its way out a while after its end was seen, and `/proc` has
    /// it until then.
    fn dismiss(&mut self, living: &HashMap<ProcessId, Living>) -> Vec<ProcessId> {
        let settled = |(id, member): &(&ProcessId, &mut Member)| {
            member.stage == Stage::Settled && !living.contains_key(id)
        };
        let members = self.members.iter_mut();
        let done: Vec<_> = members.filter(settled).map(|(id, _)| *id).collect();
        for id in &done {
            self.members.remove(id);
        }
        done
    }
}
