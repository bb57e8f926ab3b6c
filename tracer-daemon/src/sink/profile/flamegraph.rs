use std::io;

use inferno::flamegraph::{Options, from_lines};

use super::{Measure, folded};
use crate::{aggregate::snapshot::StackTotals, humanize::escaped};

/// An SVG picture of stacks, which a browser shows and searches.
///
/// # Errors
/// When none of them has a weight.
pub fn flamegraph(stacks: &[&StackTotals], title: &str, measure: Measure) -> io::Result<Vec<u8>> {
    let mut options = Options::default();
    options.title = escaped(title);
    options.count_name = measure.unit().to_owned();
    // The same stacks give the same colours.
    options.deterministic = true;
    let mut svg = Vec::new();
    from_lines(&mut options, folded(stacks, Some(measure)).lines(), &mut svg)?;
    Ok(svg)
}
