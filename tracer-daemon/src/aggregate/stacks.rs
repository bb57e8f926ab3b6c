//! Sampled user stacks, equal ones together, until somebody names their addresses.

use std::collections::HashMap;

use tracer_common::{ProcessId, Stack};

/// Different stacks kept; what comes after is counted as lost.
const MOST_STACKS: usize = 16_384;

/// What tells stacks apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StackKey {
    /// Whose it is.
    pub process: ProcessId,
    /// Programs that the process had executed by then: addresses mean something in one only.
    pub program: u32,
    /// `mmap`, …, or `fault`.
    pub kind: &'static str,
    /// Addresses, innermost first.
    pub frames: Vec<u64>,
    /// The word at the top of the stack, see [`Stack::top`].
    pub top: u64,
}

/// What came from a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackSum {
    /// Calls or faults.
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
    unnamed: Vec<(ProcessId, u32, Vec<u64>)>,
    dropped: u64,
}

impl StackKey {
    /// Of a record's stack.
    #[must_use]
    pub fn new(process: ProcessId, program: u32, kind: &'static str, stack: &Stack) -> Self {
        let depth = usize::try_from(stack.depth).unwrap_or(0).min(stack.frames.len());
        let frames = stack.frames[..depth].to_vec();
        Self { process, program, kind, frames, top: stack.top }
    }
}

impl Stacks {
    /// Adds what a stack stands for.
    pub fn add(&mut self, key: StackKey, sum: StackSum) {
        if let Some(known) = self.sums.get_mut(&key) {
            known.count += sum.count;
            known.bytes += sum.bytes;
            known.duration_ns += sum.duration_ns;
        } else if self.sums.len() < MOST_STACKS {
            let addresses = key.frames.iter().copied().chain([key.top]).collect();
            self.unnamed.push((key.process, key.program, addresses));
            self.sums.insert(key, sum);
        } else {
            self.dropped += sum.count;
        }
    }

    /// Addresses that came since the last call. They must be looked up while the process lives.
    pub fn take_unnamed(&mut self) -> Vec<(ProcessId, u32, Vec<u64>)> {
        std::mem::take(&mut self.unnamed)
    }

    /// The heaviest stacks, heaviest first: by time, then by count.
    #[must_use]
    pub fn heaviest(&self, most: usize) -> Vec<(&StackKey, StackSum)> {
        let mut all: Vec<_> = self.sums.iter().map(|(key, sum)| (key, *sum)).collect();
        all.sort_by(|(a, x), (b, y)| {
            (y.duration_ns, y.count, &a.frames).cmp(&(x.duration_ns, x.count, &b.frames))
        });
        all.truncate(most);
        all
    }

    /// Calls and faults whose stack found no room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
