//! Which thread counts, and for which process.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_get_prandom_u32};
use tracer_common::{Control, Loss, ProcessId, Target, Thread};

use crate::{
    emit::{has_room_for_stack, lose},
    kernel::{config, current_task, start_ticks},
    maps::{CONTROL, TARGETS, THREADS},
};

/// Thread id and pid of the running thread.
#[inline(always)]
pub fn current_ids() -> (u32, u32) {
    let both = bpf_get_current_pid_tgid();
    (both as u32, (both >> 32) as u32)
}

/// The state of the running thread, if its process is to be traced.
#[inline(always)]
pub fn thread() -> Option<*mut Thread> {
    if control()?.closed != 0 {
        return None;
    }
    let (tid, pid) = current_ids();
    if let Some(known) = THREADS.get_ptr_mut(&tid) {
        return Some(known);
    }
    let fresh = Thread {
        process: admit(pid)?,
        // A random start: else all threads would sample the same event of a loop.
        fault_countdown: 1 + random() % config::fault_period().max(1),
        lookup_countdown: random() % config::lookup_period().max(1),
        ..Thread::default()
    };
    if THREADS.insert(&tid, &fresh, 0).is_err() {
        lose(Loss::ThreadTable);
    }
    THREADS.get_ptr_mut(&tid)
}

/// The running process, if it is to be traced; without keeping anything of its thread.
#[inline(always)]
pub fn process() -> Option<ProcessId> {
    if control()?.closed != 0 {
        return None;
    }
    admit(current_ids().1)
}

/// What user space wants at present.
#[inline(always)]
pub fn control() -> Option<&'static Control> {
    CONTROL.get(0)
}

/// The running process's identity, if it is to be traced.
#[inline(always)]
pub fn admit(pid: u32) -> Option<ProcessId> {
    if config::whole_machine() != 0 {
        // Pid 0 is the idle task.
        return (pid != 0).then(|| ProcessId::new(pid, start_ticks(current_task())));
    }
    let target = TARGETS.get_ptr_mut(&pid)?;
    // SAFETY: the pointer comes from the map and is checked; the entry outlives the program's run.
    unsafe {
        if (*target).flags & Target::FROM_EXEC != 0 {
            return None;
        }
        let start = start_ticks(current_task());
        if (*target).start_ticks == 0 {
            (*target).start_ticks = start;
        } else if start != 0 && start != (*target).start_ticks {
            return None; // The pid was taken by another process.
        }
        Some(ProcessId::new(pid, (*target).start_ticks))
    }
}

/// 32 random bits.
#[inline(always)]
pub fn random() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { bpf_get_prandom_u32() as u32 }
}

/// How many events to leave out before the next sampled one: one in a period on average, never in
/// step with a loop. `period` is at least 1.
#[inline(always)]
pub fn events_between(period: u32) -> u32 {
    random() % (2 * period - 1)
}

/// Which of a thread's events come with their stack: the first few, then one in a period on
/// average, never in step with a loop of them. `taken` and `countdown` are the thread's. Returns
/// how many events the stack stands for; 0: leave it.
#[inline(always)]
pub fn stack_share(taken: &mut u32, countdown: &mut u32, first: u32, period: u32) -> u32 {
    let period = period.max(1);
    let share = if *taken < first {
        *taken += 1;
        *countdown = random() % period;
        1
    } else if *countdown > 0 {
        *countdown -= 1;
        return 0;
    } else {
        *countdown = events_between(period);
        period
    };
    if !has_room_for_stack() {
        lose(Loss::StackRecords);
        return 0;
    }
    share
}
