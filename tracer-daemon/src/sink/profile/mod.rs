//! Stacks of a recording as the programs take them that draw profiles.

mod flamegraph;
mod folded;
mod pprof;
#[cfg(test)]
mod tests;

pub use flamegraph::flamegraph;
pub use folded::folded;
pub use pprof::pprof;

use crate::aggregate::{
    Snapshot,
    snapshot::{BlockSum, StackTotals},
    stack_kind,
};

/// The calls of the allocator alone, as [`pprof`] has them; `None` where no call was sampled.
#[must_use]
pub fn allocs(snapshot: &Snapshot) -> Option<Vec<u8>> {
    let is_call = |stack: &&StackTotals| stack.kind == stack_kind::MALLOC;
    let stacks: Vec<_> = snapshot.stacks.iter().filter(is_call).collect();
    // Memory takes everything.
    (!stacks.is_empty()).then(|| pprof(&stacks, snapshot).ok())?
}

/// The kinds of stacks that there are; the one that says where time goes comes first.
#[must_use]
pub fn kinds<'a>(stacks: impl IntoIterator<Item = &'a StackTotals>) -> Vec<&'a str> {
    let mut kinds: Vec<_> = stacks.into_iter().map(|stack| stack.kind.as_str()).collect();
    kinds.sort_by_key(|kind| (*kind != stack_kind::CPU, *kind));
    kinds.dedup();
    kinds
}

/// What a stack weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Calls, faults, samples or look-ups.
    Count,
    /// Bytes that the calls were about.
    Bytes,
    /// Time in the kernel; of CPU samples, CPU time.
    Time,
    /// Blocks that were not given back.
    InUseObjects,
    /// Their bytes.
    InUseSpace,
}

impl Measure {
    /// What a kind of stacks is looked at for.
    #[must_use]
    pub fn usual(kind: &str) -> Self {
        match kind {
            stack_kind::CPU | stack_kind::FUTEX => Self::Time,
            stack_kind::MALLOC => Self::Bytes,
            _ => Self::Count,
        }
    }

    /// What it counts in.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Count | Self::InUseObjects => "count",
            Self::Bytes | Self::InUseSpace => "bytes",
            Self::Time => "nanoseconds",
        }
    }

    /// The weight of a stack; 0: it has none of this.
    #[must_use]
    pub fn of(self, stack: &StackTotals) -> u64 {
        match self {
            Self::Count => stack.count,
            Self::Bytes => stack.bytes,
            Self::InUseObjects => outstanding(stack).blocks,
            Self::InUseSpace => outstanding(stack).bytes,
            // A number that is none becomes 0.
            Self::Time => (stack.seconds.unwrap_or(0.0) * 1e9).round() as u64,
        }
    }
}

fn outstanding(stack: &StackTotals) -> BlockSum {
    stack.blocks.as_ref().and_then(|blocks| blocks.outstanding).unwrap_or_default()
}
