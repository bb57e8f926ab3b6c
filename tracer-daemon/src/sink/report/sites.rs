use std::collections::BTreeMap;

use crate::aggregate::{
    snapshot::{Frame, StackTotals},
    user_path::short_name,
};
use crate::humanize::shortened;

/// Functions of a stack that a line has room for.
const FUNCTIONS: usize = 3;
/// Characters of a function's name.
const NAME: usize = 32;

/// Call sites, heaviest first: the innermost functions of the stacks that begin with them, and the
/// sum of `weight` over those.
pub(super) fn heaviest<'a>(
    stacks: impl Iterator<Item = &'a StackTotals>,
    weight: impl Fn(&StackTotals) -> f64,
) -> Vec<(String, f64)> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for stack in stacks.filter(|stack| !stack.frames.is_empty()) {
        *sums.entry(chain(&stack.frames)).or_default() += weight(stack);
    }
    let mut sites: Vec<_> = sums.into_iter().collect();
    sites.sort_by(|a, b| b.1.total_cmp(&a.1));
    sites
}

/// `innermost ← its caller ← …`; functions in a row without a name are one.
fn chain(frames: &[Frame]) -> String {
    let mut names: Vec<String> = frames.iter().map(name).collect();
    names.dedup();
    names.truncate(FUNCTIONS);
    names.join(" ← ")
}

fn name(frame: &Frame) -> String {
    match (&frame.symbol, &frame.module) {
        (Some(symbol), _) => shortened(&short_name(symbol), NAME),
        (None, Some(module)) => format!("?? ({})", module.rsplit('/').next().unwrap_or(module)),
        (None, None) => "??".to_owned(),
    }
}
