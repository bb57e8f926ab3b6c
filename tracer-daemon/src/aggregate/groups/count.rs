use tracer_common::{ProcessId, Syscall};

use super::{Groups, group::Group, member::Member};
use crate::aggregate::{counters::Counters, locks::LockSide};

impl Groups {
    /// Hands what each process has added to its group.
    pub(super) fn count(&mut self, counters: &Counters) {
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
        for (key, waits) in &counters.lock_waits {
            with(&key.process, &mut |member, group| {
                group.add_lock_waits(LockSide::of(key), &member.lock_waits_since(*key, *waits));
            });
        }
        for (id, lookups) in &counters.lookups {
            with(id, &mut |member, group| {
                group.add_lookups(&member.lookups_since(*lookups));
            });
        }
        for (key, samples) in &counters.cpu {
            with(&key.process, &mut |member, group| {
                let place = key.class.name();
                group.add_cpu(place, member.cpu_since(place, *samples));
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
}
