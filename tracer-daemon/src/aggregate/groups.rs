//! From absolute counters of processes to totals of groups that never go down: what a process has
//! added since it was last looked at goes to the group that it is in now. The groups' sum is that of
//! the machine, whichever groups there are.

mod admit;
mod count;
mod group;
mod member;
mod room;
#[cfg(test)]
mod room_tests;
mod since;
#[cfg(test)]
mod sum_tests;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tracer_common::{ExitTotals, Lookup, ProcessId, Syscall};

pub use self::room::{ENDED, NEW, OTHER, RESERVED};
use self::{
    group::Group,
    member::{Member, Stage},
    room::Room,
};
use super::{counters::Counters, machine::GroupTotals};
use crate::census::AreaCount;

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
        Self { minor: self.minor.max(other.minor), major: self.major.max(other.major) }
    }

    fn at_end(exits: &ExitTotals) -> Self {
        Self { minor: exits.minor_faults(), major: exits.major_faults() }
    }
}

/// The group that a process belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belongs {
    /// The group's name.
    pub to: Arc<str>,
    /// Whether the group may begin with this process. Otherwise, as long as there is no such group, it
    /// counts in [`NEW`].
    pub founds: bool,
}

/// A process that has not ended, as `/proc` shows it.
#[derive(Clone, Debug)]
pub struct Living {
    /// When it was forked.
    pub start_ticks: u64,
    /// Its group at present.
    pub group: Belongs,
    /// Its faults so far.
    pub faults: Faults,
    /// Its areas when they were last counted.
    pub areas: Option<AreaCount>,
}

/// What the kernel programs count.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Calls that have a probe.
    pub calls: Vec<Syscall>,
    /// Look-ups that have one.
    pub lookups: Vec<Lookup>,
}

/// Everything counted so far.
pub struct Groups {
    started_ticks: u64,
    measured: Measured,
    members: HashMap<ProcessId, Member>,
    /// Processes with counters that nothing else is known of: they may have been born between the
    /// reading of `/proc` and that of the counters.
    strangers: HashSet<ProcessId>,
    groups: BTreeMap<Arc<str>, Group>,
    room: Room,
}

impl Groups {
    /// Nothing counted, and room for so many groups with names of processes. Processes that were
    /// forked until `started_ticks` count their faults from the first reading on.
    #[must_use]
    pub fn new(started_ticks: u64, measured: Measured, most: usize) -> Self {
        Self {
            room: Room::new(most),
            started_ticks,
            measured,
            members: HashMap::new(),
            strangers: HashSet::new(),
            groups: BTreeMap::new(),
        }
    }

    /// Takes in a reading: first `living`, then `counters` must have been read, `now` since any fixed
    /// moment. `name` names the group of a process that ended without having been seen. Returns the
    /// processes that nothing counts for any more, for the kernel to forget.
    pub fn apply(
        &mut self,
        counters: &Counters,
        living: &HashMap<ProcessId, Living>,
        now: Duration,
        name: impl FnMut(Option<&ExitTotals>) -> Belongs,
    ) -> Vec<ProcessId> {
        self.hold(now);
        self.admit_living(living);
        self.admit_ended(counters, living, name);
        self.look(counters, living);
        self.count(counters);
        self.groups.values_mut().for_each(Group::reckon_fault_time);
        self.dismiss(living)
    }

    /// The groups as they stand.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<String, GroupTotals> {
        let groups = self.groups.iter();
        groups.map(|(name, group)| (name.as_ref().to_owned(), group.totals.clone())).collect()
    }

    /// Who lives, who has ended, and the faults of both.
    fn look(&mut self, counters: &Counters, living: &HashMap<ProcessId, Living>) {
        for group in self.groups.values_mut() {
            (group.totals.processes, group.totals.areas) = (0, None);
        }
        for (id, member) in &mut self.members {
            let Some(group) = self.groups.get_mut(&member.group) else {
                continue;
            };
            let (live, exits) = (living.get(id), counters.exits.get(id));
            group.add_areas(live.and_then(|live| live.areas));
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
