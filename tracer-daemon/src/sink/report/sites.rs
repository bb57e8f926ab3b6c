use std::collections::BTreeMap;

use crate::aggregate::{
    snapshot::Frame,
    user_path::{is_standard_library, short_name},
};
use crate::humanize::shortened;

/// Functions of a stack that a line has room for.
const FUNCTIONS: usize = 4;
/// Characters of a function's name.
const NAME: usize = 32;

/// Call sites, heaviest first: the innermost functions of the stacks that begin with them, and the
/// sum of the weights of those.
pub(super) fn heaviest<'a>(stacks: impl Iterator<Item = (&'a [Frame], f64)>) -> Vec<(String, f64)> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for (frames, weight) in stacks.filter(|(frames, _)| !frames.is_empty()) {
        *sums.entry(chain(frames)).or_default() += weight;
    }
    let mut sites: Vec<_> = sums.into_iter().collect();
    sites.sort_by(|a, b| b.1.total_cmp(&a.1));
    sites
}

/// `innermost ← its caller ← …`. What was inlined from a language's library belongs to the function
/// that holds it; functions in a row without a name are one.
fn chain(frames: &[Frame]) -> String {
    let is_inlined = |frame: &Frame, next: Option<&Frame>| {
        next.is_some_and(|next| (&frame.module, frame.offset) == (&next.module, next.offset))
            && frame.symbol.as_deref().is_some_and(is_standard_library)
    };
    let pairs = frames.iter().enumerate().map(|(index, frame)| (frame, frames.get(index + 1)));
    let mut names: Vec<_> = pairs
        .filter(|(frame, next)| !is_inlined(frame, *next))
        .map(|(frame, _)| name(frame))
        .collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(frames: &[(&str, u64)]) -> Vec<Frame> {
        let frame = |&(symbol, offset): &(&str, u64)| Frame {
            symbol: (!symbol.is_empty()).then(|| symbol.to_owned()),
            module: Some("/lib/libx.so".to_owned()),
            offset,
            ..Frame::default()
        };
        frames.iter().map(frame).collect()
    }

    #[test]
    fn stacks_that_begin_with_the_same_functions_are_one() {
        let stacks = [
            (1.0, stack(&[("core::ptr::read", 7), ("app::work", 7), ("main", 1)])),
            (4.0, stack(&[("app::work", 9), ("main", 1)])),
            (3.0, stack(&[("core::slice::sort", 7), ("main", 1)])),
            (2.0, stack(&[("", 7), ("", 8), ("free", 5), ("a", 4), ("b", 3), ("c", 2)])),
            (9.0, stack(&[])),
        ];
        let sites = heaviest(stacks.iter().map(|(weight, frames)| (frames.as_slice(), *weight)));
        let truth = [
            ("work ← main".to_owned(), 5.0),
            ("sort ← main".to_owned(), 3.0),
            ("?? (libx.so) ← free ← a ← b".to_owned(), 2.0),
        ];
        assert_eq!(sites, truth);
    }
}
