use std::collections::BTreeMap;

use super::Measure;
use crate::{
    aggregate::snapshot::{Frame, StackTotals},
    humanize::escaped,
};

/// Stacks as `flamegraph.pl` takes them, `kind;root;…;leaf weight`, a line for each. Without a `measure`
/// each kind has its usual one.
#[must_use]
pub fn folded(stacks: &[&StackTotals], measure: Option<Measure>) -> String {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for stack in stacks {
        let sum = sums.entry(line(stack)).or_default();
        let measure = measure.unwrap_or(Measure::usual(&stack.kind));
        *sum = sum.saturating_add(measure.of(stack));
    }
    // A recording may claim anything, and readers add all of it up.
    let most = u64::MAX / (sums.len() as u64).max(1);
    let heavy = sums.into_iter().filter(|(_, weight)| *weight > 0);
    heavy.map(|(names, weight)| format!("{names} {}\n", weight.min(most))).collect()
}

fn line(stack: &StackTotals) -> String {
    let functions = stack.frames.iter().rev().map(function);
    std::iter::once(name(&stack.kind)).chain(functions).collect::<Vec<_>>().join(";")
}

fn function(frame: &Frame) -> String {
    match (&frame.symbol, &frame.module) {
        (Some(symbol), _) => name(symbol),
        (None, Some(module)) => name(&format!("[{}]", module.rsplit('/').next().unwrap_or(module))),
        (None, None) => name(""),
    }
}

/// A name that keeps its place: a `;` would end it, and a number behind a space be a weight.
fn name(text: &str) -> String {
    // XML, and so a picture, cannot have the last two at all.
    let safe = escaped(text).replace([';', '\u{fffe}', '\u{ffff}'], ":");
    let safe = safe.replace(char::is_whitespace, " ");
    match safe.trim() {
        "" => "??".to_owned(),
        safe => match safe.rsplit_once(' ') {
            Some((rest, number)) if number.starts_with(|first: char| first.is_ascii_digit()) => {
                format!("{rest}_{number}")
            }
            _ => safe.to_owned(),
        },
    }
}
