//! The call site that most of the samples come from.

use std::collections::HashMap;

use super::caller::call_site;
use crate::aggregate::snapshot::{Frame, Snapshot, StackTotals};

/// A call site among others.
pub(super) struct HotSpot<'a> {
    /// The heaviest stack that leads through it.
    pub(super) stack: &'a StackTotals,
    /// The part of the samples that come from there.
    pub(super) share: f64,
}

/// The same of the stacks of one kind that `is_it` accepts by their place: a class of CPU samples,
/// or a function of look-ups.
pub(super) fn at<'a>(
    snapshot: &'a Snapshot,
    kind: &str,
    is_it: impl Fn(&str) -> bool,
) -> Option<HotSpot<'a>> {
    of(snapshot, |stack| stack.kind == kind && stack.place.as_deref().is_some_and(&is_it))
}

/// The heaviest call site of the stacks that `is_it` accepts.
pub(super) fn of(snapshot: &Snapshot, is_it: impl Fn(&StackTotals) -> bool) -> Option<HotSpot<'_>> {
    let stacks = || snapshot.stacks.iter().filter(|stack| is_it(stack));
    // A function calls from several places.
    let site = |stack| call_site(stack).map(function);
    let mut counts: HashMap<_, u64> = HashMap::new();
    for (site, stack) in stacks().filter_map(|stack| Some((site(stack)?, stack))) {
        let count = counts.entry(site).or_default();
        *count = count.saturating_add(stack.count);
    }
    let total: f64 = counts.values().map(|count| *count as f64).sum();
    let (hottest, count) = counts.into_iter().max_by_key(|(site, count)| (*count, *site))?;
    let through = stacks().filter(|stack| site(stack) == Some(hottest));
    let stack = through.max_by_key(|stack| stack.count)?;
    Some(HotSpot { stack, share: count as f64 / total })
}

/// What a function is known by; code without a name by its place.
pub(super) fn function(frame: &Frame) -> (Option<&str>, Option<&str>, u64) {
    let offset = if frame.symbol.is_some() { 0 } else { frame.offset };
    (frame.module.as_deref(), frame.symbol.as_deref(), offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(place: &str, count: u64, frames: &[(&str, u64)]) -> StackTotals {
        let frame = |&(symbol, offset): &(&str, u64)| Frame {
            symbol: Some(symbol.to_owned()),
            module: Some("/bin/app".to_owned()),
            offset,
            ..Frame::default()
        };
        let frames = frames.iter().map(frame).collect();
        let (kind, place) = ("cpu".to_owned(), Some(place.to_owned()));
        StackTotals { kind, place, count, frames, ..StackTotals::default() }
    }

    #[test]
    fn places_of_a_function_count_together() {
        let snapshot = Snapshot {
            stacks: vec![
                stack("look_up", 40, &[("malloc", 1), ("other", 1)]),
                stack("look_up", 35, &[("hot", 1)]),
                stack("look_up", 25, &[("core::ptr::read_volatile", 9), ("hot", 9)]),
                stack("unmap", 900, &[("third", 1)]),
            ],
            ..Snapshot::default()
        };
        let spot = at(&snapshot, "cpu", |place| place == "look_up").expect("stacks");
        assert_eq!((spot.stack.count, spot.share), (35, 0.6));
        assert!(at(&snapshot, "cpu", |place| place == "fault").is_none());
        assert!(at(&snapshot, "lookup", |_| true).is_none());
    }
}
