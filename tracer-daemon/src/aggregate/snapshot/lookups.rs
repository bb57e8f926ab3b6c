//! Look-ups of areas, and waits for the lock that guards them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Look-ups by one of the kernel's functions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LookupTotals {
    /// How many; exact.
    pub calls: u64,
    /// CPU time in the function, from the samples of the clock; unknown without any.
    pub seconds: Option<f64>,
    /// The same as a share of the target's CPU time.
    pub share: Option<f64>,
    /// Shares of the calls by what the kernel had been asked for (`fault`, `mmap`, …, `other`),
    /// sampled.
    pub why: BTreeMap<String, f64>,
    /// The most frequent ways through the kernel, sampled.
    pub paths: Vec<LookupPath>,
    /// The mappings that were looked up most, sampled, as they were named when the window ended;
    /// empty where the function has no address or the mappings could not be read.
    pub mappings: Vec<LookupMapping>,
}

/// Waits for `mmap_lock`, the lock of the target's address space.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockWait {
    /// `read` (shared, as faults take it) or `write` (alone, as calls that change mappings do).
    pub side: String,
    /// The call that waited: `mmap`, `munmap`, …, or `other`: mostly faults.
    pub call: String,
    /// Whether the tracer was reading the mappings at the time; it may have been the cause.
    pub during_census: bool,
    /// How many; exact.
    pub waits: u64,
    /// Time waited, summed over the threads.
    pub seconds: f64,
}

/// A way through the kernel to a look-up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LookupPath {
    /// The calling functions, innermost first.
    pub frames: Vec<String>,
    /// Share of the function's calls.
    pub share: f64,
}

/// Mappings that were looked up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LookupMapping {
    /// `[heap]`, a file's name, `anon` and a size, …
    pub name: String,
    /// Areas of that name.
    pub areas: u64,
    /// Share of the function's calls.
    pub share: f64,
}

/// Waits for futexes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FutexTotals {
    /// How many; exact.
    pub waits: u64,
    /// Time in them, summed over threads; exact.
    pub seconds: f64,
}
