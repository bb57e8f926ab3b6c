//! `small-block-waste`: a good part of what the allocator takes for small blocks is nobody's.
//!
//! What each call asks for is counted, and what the allocator takes for it follows from its rule. Which of
//! the blocks stay is not seen, only how many more are taken than given back; the bounds of a prediction
//! hold whichever they are.

mod kept;
mod text;

#[cfg(test)]
mod tests;

use super::{Cause, Cost, Finding, MemorySaving, Saving, Severity, caller, hot_spot, worth};
use crate::aggregate::{
    allocations::Allocations,
    exact_sizes::Taken,
    snapshot::{Resident, Snapshot},
    stack_kind::MALLOC,
};
use crate::allocator::SizeRule;
use kept::Kept;

/// The name of the finding.
const ID: &str = "small-block-waste";

/// Less than this part of what is taken is the price of any allocator.
const WASTE_SHARE: f64 = 0.2;

/// Less than this is not worth a word.
const BYTES: u64 = 1 << 20;

/// Another allocator that saves less than this part is not named.
const SAVED_BY_ANOTHER: f64 = 0.05;

/// The waste, and what it is part of.
struct Waste<'a> {
    all: &'a Allocations,
    allocator: &'a str,
    rule: &'a str,
    /// Of small blocks.
    small: Taken,
    /// Its part of what all blocks take, the large ones as if they took what was asked for.
    share: f64,
    kept: Kept,
    resident: Resident,
    /// What pools would give back.
    saving: MemorySaving,
    /// Other allocators and what each would give back, the best first.
    others: Vec<(&'static str, MemorySaving)>,
    /// Where most of the small blocks come from, and their share.
    site: Option<(String, f64)>,
}

/// Looks for blocks that take much more than was asked for, and stay.
#[must_use]
pub fn small_block_waste(snapshot: &Snapshot) -> Option<Finding> {
    let spot = hot_spot::of(snapshot, |stack| {
        let size = stack.bytes.checked_div(stack.count);
        stack.kind == MALLOC && size.is_some_and(|size| size <= tracer_common::LARGEST_EXACT_SIZE)
    });
    let mut waste = Waste::measure(snapshot)?;
    waste.site = spot
        .as_ref()
        .and_then(|spot| Some((caller::site_text(caller::call_site(spot.stack)?), spot.share)));
    let severity = worth::memory_severity(waste.saving.bytes, waste.resident.after);
    let gain = severity != Severity::NoGain;
    let saving = Saving { memory: Some(waste.saving), ..Saving::default() };
    Some(Finding {
        id: ID.to_owned(),
        severity,
        summary: text::summary(&waste, gain),
        evidence: text::evidence(&waste, snapshot.window.complete),
        cause: Cause {
            text: text::cause(&waste),
            bytes: waste.worst_size(),
            stack: spot.map_or_else(Vec::new, |spot| caller::stack_text(spot.stack)),
        },
        cost: Cost { bytes: waste.saving.bytes, ..Cost::default() },
        remedy: if gain { text::remedies(&waste) } else { Vec::new() },
        predicted_saving: gain.then_some(saving),
        confidence: confidence(&waste, snapshot.window.complete),
    })
}

impl<'a> Waste<'a> {
    fn measure(snapshot: &'a Snapshot) -> Option<Self> {
        let all = snapshot.allocations.as_ref()?;
        let rule = all.size_rule.as_deref()?;
        let small = Taken::sum(&all.exact_sizes);
        let asked: u64 =
            all.functions.values().filter_map(|one| one.bytes).fold(0, u64::saturating_add);
        let share = small.waste() as f64 / asked.saturating_add(small.waste()) as f64;
        let resident = snapshot.resident?;
        let kept = Kept::of(all, resident)?;
        let saving = kept.saving(&all.exact_sizes, |size| Some(size.bytes));
        let is_much = share >= WASTE_SHARE && saving.bytes >= BYTES;
        let allocator = snapshot.target.allocator.as_deref().unwrap_or("the allocator");
        let others = others(all, &kept, allocator);
        let site = None;
        is_much.then_some(Self {
            all,
            allocator,
            rule,
            small,
            share,
            kept,
            resident,
            saving,
            others,
            site,
        })
    }

    /// The size that wastes most.
    fn worst_size(&self) -> Option<u64> {
        self.worst().first().map(|(size, _)| *size)
    }

    /// Sizes and what is wasted for them, most first.
    fn worst(&self) -> Vec<(u64, Taken)> {
        let sizes = self.all.exact_sizes.iter();
        let mut sizes: Vec<_> = sizes.map(|size| (size.bytes, Taken::sum([size]))).collect();
        sizes.sort_by_key(|(_, taken)| std::cmp::Reverse(taken.waste()));
        sizes
    }
}

/// Allocators that would take less for the same blocks.
fn others(all: &Allocations, kept: &Kept, own: &str) -> Vec<(&'static str, MemorySaving)> {
    let rules = SizeRule::all().filter(|rule| !own.starts_with(rule.family.name()));
    let saving = |rule: &SizeRule| kept.saving(&all.exact_sizes, |size| rule.taken(size.bytes));
    let taken = kept.saving(&all.exact_sizes, |_| Some(0)).bytes;
    let mut others: Vec<_> = rules.map(|rule| (rule.family.name(), saving(rule))).collect();
    others.retain(|(_, saving)| saving.bytes as f64 >= SAVED_BY_ANOTHER * taken as f64);
    others.sort_by_key(|(_, saving)| std::cmp::Reverse(saving.bytes));
    others
}

/// Each doubt takes its part away.
fn confidence(waste: &Waste<'_>, complete: bool) -> f64 {
    let MemorySaving { bytes, low, high } = waste.saving;
    let doubts = [
        // Many blocks went again, and any of them may have stayed.
        ((high - low) as f64 > 0.5 * bytes as f64, 0.7),
        (waste.kept.is_estimated(), 0.8),
        (!complete, 0.9),
    ];
    let applying = doubts.iter().filter(|(applies, _)| *applies);
    applying.fold(0.95, |confidence, (_, part)| confidence * part)
}
