//! New processes, and the groups that they belong to.

use std::collections::{HashMap, HashSet};

use tracer_common::{ExitTotals, ProcessId};

use super::{
    Belongs, Faults, Groups, Living,
    member::{Member, Stage},
};
use crate::aggregate::counters::Counters;

impl Groups {
    pub(super) fn admit_living(&mut self, living: &HashMap<ProcessId, Living>) {
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

    pub(super) fn admit_ended(
        &mut self,
        counters: &Counters,
        living: &HashMap<ProcessId, Living>,
        mut name: impl FnMut(Option<&ExitTotals>) -> Belongs,
    ) {
        self.follow_execs(counters, living, &mut name);
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

    /// A process that has executed a program since it was last seen, and has ended, is not any more what
    /// it was: a shell's child is seen as a shell, if at all, before it becomes a command.
    fn follow_execs(
        &mut self,
        counters: &Counters,
        living: &HashMap<ProcessId, Living>,
        name: &mut impl FnMut(Option<&ExitTotals>) -> Belongs,
    ) {
        for (id, exits) in &counters.exits {
            let execs = counters.lifecycles.get(id).map_or(0, |lifecycle| lifecycle.execs);
            let is_another = self
                .members
                .get(id)
                .is_some_and(|member| !member.stage.is_over() && execs > member.lifecycle.execs);
            if exits.dead == 0 || !is_another || living.contains_key(id) {
                continue;
            }
            let group = self.enter(&name(Some(exits)));
            if let Some(member) = self.members.get_mut(id) {
                member.group = group;
            }
        }
    }

    /// Faults before the first reading belong to nobody, unless all of the process's life does.
    fn first_faults(&self, start_ticks: u64, reading: Faults) -> Faults {
        if start_ticks > self.started_ticks { Faults::default() } else { reading }
    }
}
