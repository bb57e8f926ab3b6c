use serde::{Deserialize, Serialize};

/// How much a finding matters: by the share of the target's CPU time that the cure gives back, or
/// by how near the target is to a limit at which its calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The pattern is there, and curing it would gain nothing worth the work.
    NoGain,
    /// Below a twentieth of the target's CPU time; a limit will be met in days.
    Low,
    /// Below a fifth; a limit will be met in hours, or half of it is taken.
    Medium,
    /// A fifth or more; a limit will be met in minutes, or most of it is taken.
    High,
}

/// A pathology that was found, and what to do about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The pathology's name, as in metrics and workloads.
    pub id: String,
    /// How much it matters.
    pub severity: Severity,
    /// One line.
    pub summary: String,
    /// The measured numbers, a line each.
    pub evidence: Vec<String>,
    /// Where it comes from.
    pub cause: Cause,
    /// What it takes.
    pub cost: Cost,
    /// What to do, best first, with exact values.
    pub remedy: Vec<String>,
    /// What the remedy gives back; `None`: nothing that could be predicted.
    pub predicted_saving: Option<Saving>,
    /// Between 0 and 1: how well the measured numbers support the cause.
    pub confidence: f64,
}

/// Where a finding comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// One line.
    pub text: String,
    /// The size of the mappings or blocks concerned.
    pub bytes: Option<u64>,
    /// The stack, innermost first, as `symbol (module)`.
    pub stack: Vec<String>,
}

/// What a pathology takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// CPU seconds in each second of the window.
    pub cpu_seconds_per_second: f64,
    /// The same as a share of the target's CPU time.
    pub share_of_target: Option<f64>,
    /// Seconds that threads waited in each second of the window, summed over them; 0: the finding is
    /// not about waiting.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waited_seconds_per_second: f64,
    /// Memory that is taken and not given back, in bytes each second; 0: the finding is not about memory.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_per_second: f64,
    /// Memory; 0: the finding is not about memory.
    #[serde(default, skip_serializing_if = "is_none")]
    pub bytes: u64,
}

/// What a remedy is expected to give back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saving {
    /// CPU seconds in each second of the window.
    pub cpu_seconds_per_second: f64,
    /// Lower and upper bound of the same, with 95 % confidence.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// CPU seconds for each cycle, to compare runs of different lengths; 0: there are no cycles.
    pub cpu_seconds_per_cycle: f64,
    /// Waiting that ends, in seconds in each second of the window; 0: see [`Cost`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waited_seconds_per_second: f64,
    /// Memory, and bounds of it that hold whichever of the counted blocks stayed; absent: see [`Cost`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySaving>,
}

/// Memory that a remedy is expected to give back, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySaving {
    /// The best guess.
    pub bytes: u64,
    /// No less than this.
    pub low: u64,
    /// No more than this.
    pub high: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_none(bytes: &u64) -> bool {
    *bytes == 0
}
