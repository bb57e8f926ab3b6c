//! Sampled user stacks: as they were copied, until somebody unwinds them; then equal ones together,
//! until somebody names their addresses.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use tracer_common::{ProcessId, SampleId};

use super::{reservoir::Reservoir, stack_kind::StackKind};
use crate::unwind::StackCopy;

/// Different stacks kept; what comes after is counted as lost.
const MOST_STACKS: usize = 16_384;
/// Bytes of copied stacks that wait to be unwound; what comes after is counted as lost. About what
/// the ring buffer holds.
const MOST_WAITING_BYTES: usize = 16 << 20;

/// A process, and how many programs it had executed: addresses mean something in one only.
pub type Program = (ProcessId, u32);

/// A stack as it was copied.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Whose it is.
    pub program: Program,
    /// What it led to.
    pub kind: StackKind,
    /// Where it came from.
    pub stack: Arc<StackCopy>,
    /// What it stands for.
    pub sum: StackSum,
    /// Which call of the allocator it is, whose block may be followed.
    pub id: Option<SampleId>,
}

/// A stack that was unwound.
#[derive(Clone, Debug)]
pub struct Unwound {
    /// The stack.
    pub key: StackKey,
    /// See [`Sample`].
    pub sum: StackSum,
    /// The same.
    pub id: Option<SampleId>,
}

/// What tells stacks apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StackKey {
    /// Whose it is.
    pub process: ProcessId,
    /// Programs that the process had executed by then: addresses mean something in one only.
    pub program: u32,
    /// What it led to.
    pub kind: StackKind,
    /// Addresses, innermost first.
    pub frames: Vec<u64>,
}

/// What came from a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackSum {
    /// Calls, faults, samples or look-ups.
    pub count: u64,
    /// Bytes that the calls were about.
    pub bytes: u64,
    /// Kernel time.
    pub duration_ns: u64,
}

/// All stacks of a window.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    sums: HashMap<StackKey, StackSum>,
    /// Code runs at any of its instructions, so that nearly every stack in user mode is another one.
    cpu: Reservoir<StackKey>,
    waiting: VecDeque<Sample>,
    waiting_bytes: usize,
    loaded: HashSet<Program>,
    callers: Vec<(SampleId, StackKey)>,
    not_queued: u64,
    dropped: u64,
}

impl Stacks {
    /// Takes a stack in that is to be unwound.
    pub fn wait(&mut self, sample: Sample) {
        let bytes = size_of::<Sample>() + sample.stack.bytes.len();
        if self.waiting_bytes + bytes > MOST_WAITING_BYTES {
            self.not_queued += sample.sum.count;
            return;
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(sample);
    }

    /// The next stack to be unwound.
    pub fn next_waiting(&mut self) -> Option<Sample> {
        let sample = self.waiting.pop_front()?;
        self.waiting_bytes -= size_of::<Sample>() + sample.stack.bytes.len();
        Some(sample)
    }

    /// One that cannot be unwound yet.
    pub fn wait_again(&mut self, sample: Sample) {
        self.waiting_bytes += size_of::<Sample>() + sample.stack.bytes.len();
        self.waiting.push_front(sample);
    }

    /// One that will not be unwound.
    pub fn give_up(&mut self, count: u64) {
        self.not_queued += count;
    }

    /// A program has mapped code from a file.
    pub fn loaded(&mut self, program: Program) {
        if self.loaded.len() < MOST_STACKS {
            self.loaded.insert(program);
        }
    }

    /// Programs that have mapped code since the last call.
    pub fn take_loaded(&mut self) -> HashSet<Program> {
        std::mem::take(&mut self.loaded)
    }

    /// The stacks of calls of the allocator that were unwound since the last call.
    pub fn take_callers(&mut self) -> Vec<(SampleId, StackKey)> {
        std::mem::take(&mut self.callers)
    }

    /// Adds what an unwound stack stands for.
    pub fn add(&mut self, Unwound { key, sum, id }: Unwound) {
        self.callers.extend(id.map(|id| (id, key.clone())));
        if matches!(key.kind, StackKind::Cpu(_)) {
            self.cpu.add(key);
        } else if let Some(known) = self.sums.get_mut(&key) {
            known.count = known.count.saturating_add(sum.count);
            known.bytes = known.bytes.saturating_add(sum.bytes);
            known.duration_ns += sum.duration_ns;
        } else if self.sums.len() < MOST_STACKS {
            self.sums.insert(key, sum);
        } else {
            self.dropped += sum.count;
        }
    }

    /// The heaviest stacks of each kind but CPU samples, `most` of it, heaviest first: by time, then by
    /// bytes, then by count.
    #[must_use]
    pub fn heaviest(&self, most: impl Fn(StackKind) -> usize) -> Vec<(&StackKey, StackSum)> {
        let mut all: Vec<_> = self.sums.iter().map(|(key, sum)| (key, *sum)).collect();
        all.sort_by(|(a, x), (b, y)| {
            let weight = |sum: &StackSum| (sum.duration_ns, sum.bytes, sum.count);
            weight(y).cmp(&weight(x)).then_with(|| a.frames.cmp(&b.frames))
        });
        let mut taken: HashMap<StackKind, usize> = HashMap::new();
        all.retain(|(key, _)| {
            let taken = taken.entry(key.kind).or_default();
            *taken += 1;
            *taken <= most(key.kind)
        });
        all
    }

    /// Stacks of CPU samples.
    #[must_use]
    pub fn cpu(&self) -> &Reservoir<StackKey> {
        &self.cpu
    }

    /// Calls, faults, samples and look-ups whose stack was not unwound, because too many waited.
    #[must_use]
    pub fn not_queued(&self) -> u64 {
        self.not_queued
    }

    /// Calls, faults and look-ups whose stack found no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::Lookup;

    use super::*;
    use crate::aggregate::faults::FaultCause;

    fn sample(bytes: usize) -> Sample {
        let stack = StackCopy { bytes: vec![0; bytes].into(), ..StackCopy::default() };
        let sum = StackSum { count: 3, ..StackSum::default() };
        let (program, kind) = ((ProcessId::new(1, 1), 0), StackKind::Fault(FaultCause::New));
        Sample { program, kind, stack: Arc::new(stack), sum, id: None }
    }

    #[test]
    fn what_finds_no_room_to_wait_is_counted() {
        let mut stacks = Stacks::default();
        for _ in 0..4 {
            stacks.wait(sample(MOST_WAITING_BYTES / 3));
        }
        assert_eq!(stacks.not_queued(), 6);
        let first = stacks.next_waiting().expect("two have room");
        stacks.wait(sample(1));
        stacks.wait_again(first);
        assert_eq!(std::iter::from_fn(|| stacks.next_waiting()).count(), 3);
        stacks.wait(sample(MOST_WAITING_BYTES / 2));
        assert_eq!(stacks.not_queued(), 6);
    }

    #[test]
    fn each_kind_has_its_heaviest() {
        let mut stacks = Stacks::default();
        let kinds = [StackKind::Fault(FaultCause::New), StackKind::Lookup(Lookup::FindVma)];
        for (kind, duration_ns) in kinds.into_iter().zip([1000, 0]) {
            for count in 1..5 {
                let frames = vec![count];
                let key = StackKey { process: ProcessId::new(1, 1), program: 0, kind, frames };
                let sum = StackSum { count, bytes: 0, duration_ns };
                stacks.add(Unwound { key, sum, id: None });
            }
        }
        let heaviest = stacks.heaviest(|_| 2);
        let found: Vec<_> = heaviest.iter().map(|(key, sum)| (key.kind, sum.count)).collect();
        assert_eq!(found, [(kinds[0], 4), (kinds[0], 3), (kinds[1], 4), (kinds[1], 3)]);
    }
}
