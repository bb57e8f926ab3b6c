use crate::aggregate::Snapshot;
use crate::aggregate::snapshot::Mappings;
use crate::diagnose::kernel_cost::KernelCost;

/// Fewer repeated short-lived mappings a second than this are ordinary life.
const CYCLES_PER_SECOND: f64 = 100.0;

/// Fewer than this in the whole window may be a start-up.
const CYCLES: u64 = 50;

/// A size of mappings that is rarer than this does not count among the churned ones.
const RARE_SIZE: f64 = 0.01;

/// The churn and what it takes.
pub(super) struct Churn {
    pub(super) cycles: u64,
    pub(super) cycles_per_second: f64,
    /// Share of the cycles that a mapping kept from an earlier one could have served. Those that
    /// live at the same time have to be there at the same time, whatever is kept.
    pub(super) repeated_share: f64,
    pub(super) cost: KernelCost,
    pub(super) threads: Option<u64>,
    pub(super) dominant_size: Option<u64>,
    pub(super) largest_size: Option<u64>,
}

impl Churn {
    /// The churn of the target, if there is one.
    pub(super) fn measure(snapshot: &Snapshot) -> Option<Self> {
        let mappings = snapshot.mappings.as_ref()?;
        let short = &mappings.short;
        let calls = [("mmap", short.birth_seconds), ("munmap", short.death_seconds)];
        let cost = KernelCost::measure(snapshot, &calls, &short.faults)?;
        let repeats = mappings.short_lived.saturating_sub(short.at_once);
        if repeats < CYCLES || (repeats as f64 / cost.window_seconds) < CYCLES_PER_SECOND {
            return None;
        }
        Some(Self {
            cycles: mappings.short_lived,
            cycles_per_second: mappings.short_lived as f64 / cost.window_seconds,
            repeated_share: repeats as f64 / mappings.short_lived as f64,
            cost,
            threads: snapshot.target.threads.filter(|threads| *threads > 0),
            dominant_size: mappings.sizes.first().map(|size| size.bytes),
            largest_size: largest_churned_size(mappings),
        })
    }
}

fn largest_churned_size(mappings: &Mappings) -> Option<u64> {
    let frequent = mappings
        .sizes
        .iter()
        .filter(|size| size.cycles as f64 >= RARE_SIZE * mappings.cycles as f64);
    frequent.map(|size| size.bytes).max()
}
