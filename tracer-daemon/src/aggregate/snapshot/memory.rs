//! Memory that comes and goes.

use serde::{Deserialize, Serialize};

use super::LookupMapping;
use crate::aggregate::faults::FaultCause;

/// Mappings made and unmade within the window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mappings {
    /// How many.
    pub cycles: u64,
    /// How many of them lived for less than [`SHORT_LIVED_SECONDS`].
    pub short_lived: u64,
    /// From the return of the call that made it to the return of the one that unmade it.
    pub lifetime_seconds: Option<Quantiles>,
    /// Most frequent first.
    pub sizes: Vec<SizeCycles>,
    /// What the short-lived ones cost.
    #[serde(skip)]
    pub short: ShortLived,
}

/// A mapping that lives for less is taken for part of one piece of work: a request, a frame.
pub const SHORT_LIVED_SECONDS: f64 = 1.0;

/// The cost of the short-lived mappings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShortLived {
    /// Kernel time of the calls that made them.
    pub birth_seconds: f64,
    /// Kernel time of the calls that unmade them.
    pub death_seconds: f64,
    /// How many of them would have had to be kept for all to be served: the most of each size that
    /// lived at the same time.
    pub at_once: u64,
    /// Faults inside them.
    pub faults: FaultShare,
}

/// Memory at the top of the heap that was given back with `brk` and taken again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeapTrims {
    /// How often the break fell and rose again.
    pub cycles: u64,
    /// Bytes that were taken again, over all cycles.
    pub bytes: u64,
    /// The deepest fall.
    pub deepest_bytes: u64,
    /// Calls that lowered the break, and those that raised it over what had been given back.
    pub calls: u64,
    /// Kernel time of the calls that lowered it.
    pub fall_seconds: f64,
    /// Kernel time of the others.
    pub rise_seconds: f64,
    /// Faults inside what had been given back.
    pub faults: FaultShare,
}

/// Faults on memory that had been touched before.
#[derive(Clone, Debug, PartialEq)]
pub struct Refaults {
    /// Why it had to be touched again.
    pub cause: FaultCause,
    /// How many they are.
    pub faults: FaultShare,
    /// Where they fell, largest share first.
    pub mappings: Vec<LookupMapping>,
}

/// Faults that read from disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MajorFaults {
    /// Those whose place was seen.
    pub samples: u64,
    /// Where they fell, largest share first.
    pub mappings: Vec<LookupMapping>,
    /// Time that the process's threads waited in them, estimated; `None`: it has too many threads to
    /// look at, or the kernel does not tell.
    pub waited_seconds: Option<f64>,
    /// Threads that were seen to wait like that, and all that were seen not to want a CPU: what
    /// `waited_seconds` rests on.
    pub waits_seen: (u64, u64),
}

/// The part of the target's faults that fell into some of its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaultShare {
    /// Between 0 and 1; `None`: no fault was sampled.
    pub share: Option<f64>,
    /// Fault samples inside, and all fault samples: what the share rests on.
    pub samples: (u64, u64),
}

/// Quantiles of a distribution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half are below.
    pub p50: f64,
    /// Nine of ten are below.
    pub p90: f64,
    /// 99 of 100 are below.
    pub p99: f64,
}

/// Cycles of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeCycles {
    /// The mapping's length.
    pub bytes: u64,
    /// How often it was made and unmade.
    pub cycles: u64,
}
