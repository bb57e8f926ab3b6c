//! The format of Go's pprof, which many programs read: protocol buffers, compressed.

mod message;
mod tables;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use prost::Message as _;
use tracer_common::Syscall;

use super::{Measure, kinds};
use crate::aggregate::{
    cpu::SAMPLES_PER_SECOND,
    snapshot::{Frame, Snapshot, StackTotals},
    stack_kind, user_path,
};
use message::{Label, Profile, Sample, ValueType};
use tables::Tables;

/// One of the values that each sample has; 0 in those of other kinds.
struct Column<'a> {
    kind: &'a str,
    name: String,
    measure: Measure,
}

/// The stacks of a window as a profile, each kind with values of its own.
///
/// # Errors
/// Never, for memory takes everything.
pub fn pprof(stacks: &[&StackTotals], snapshot: &Snapshot) -> io::Result<Vec<u8>> {
    let kinds = kinds(stacks.iter().copied());
    let is_followed = |stack: &StackTotals| stack.blocks.as_ref().map(|all| all.outstanding);
    // Where nobody knows, nothing is not the answer.
    let in_use = stacks.iter().any(|stack| is_followed(stack).flatten().is_some());
    let columns: Vec<_> = kinds.into_iter().flat_map(|kind| columns_of(kind, in_use)).collect();
    let mut tables = Tables::new(snapshot.target.exe.as_deref());
    let sample_type = columns.iter().map(|column| column.value_type(&mut tables)).collect();
    let known = stacks.iter().filter(|stack| columns.iter().any(|column| column.holds(stack)));
    let sample = known.map(|stack| sample(&mut tables, stack, &columns)).collect();
    let first = columns.iter().find(|column| column.measure == Measure::usual(column.kind));
    let profile = Profile {
        sample_type,
        sample,
        time_nanos: nanoseconds(snapshot.window.started_at.unwrap_or_default()),
        duration_nanos: nanoseconds(snapshot.window.seconds),
        period_type: first.map(|column| column.period_type(&mut tables)),
        period: first.map_or(0, Column::period),
        default_sample_type: first.map_or(0, |column| tables.string(&column.name)),
        ..tables.into_profile(&snapshot.modules)
    };
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&profile.encode_to_vec())?;
    encoder.finish()
}

impl Column<'_> {
    fn value_type(&self, tables: &mut Tables) -> ValueType {
        let (name, unit) = (tables.string(&self.name), tables.string(self.measure.unit()));
        ValueType { name, unit }
    }

    /// What happens between two samples. Servers name kinds of profiles by it, those of Go's heap as here.
    fn period_type(&self, tables: &mut Tables) -> ValueType {
        let name = if self.kind == stack_kind::MALLOC { "space" } else { self.name.as_str() };
        ValueType { name: tables.string(name), unit: tables.string(self.measure.unit()) }
    }

    /// How much of it; 0, which stands for unknown: not always the same.
    fn period(&self) -> i64 {
        let is_cpu = self.kind == stack_kind::CPU;
        if is_cpu { nanoseconds(1.0 / SAMPLES_PER_SECOND as f64) } else { 0 }
    }

    fn holds(&self, stack: &StackTotals) -> bool {
        self.kind == stack.kind
    }

    fn value(&self, stack: &StackTotals) -> i64 {
        let value = if self.holds(stack) { self.measure.of(stack) } else { 0 };
        i64::try_from(value).unwrap_or(i64::MAX)
    }
}

fn sample(tables: &mut Tables, stack: &StackTotals, columns: &[Column<'_>]) -> Sample {
    let value = columns.iter().map(|column| column.value(stack)).collect();
    let label = stack
        .place
        .iter()
        .map(|place| Label { key: tables.string("where"), text: tables.string(place) })
        .collect();
    Sample { location_id: tables.locations(frames(stack)), value, label }
}

/// A call of the allocator is its caller's, as in Go's own profiles of its heap: else readers would list little but
/// `malloc`. The label says which function it was.
fn frames(stack: &StackTotals) -> &[Frame] {
    let is_caller =
        |frame: &Frame| !frame.symbol.as_deref().is_some_and(user_path::is_allocation_call);
    let caller = stack.frames.iter().position(is_caller).unwrap_or(0);
    if stack.kind == stack_kind::MALLOC { &stack.frames[caller..] } else { &stack.frames }
}

/// A number that is none becomes 0.
fn nanoseconds(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64
}

/// None for a kind of tomorrow: nobody knows what its numbers are.
fn columns_of(kind: &str, in_use: bool) -> Vec<Column<'_>> {
    let column = |name: &str, measure| Column { kind, name: name.to_owned(), measure };
    match kind {
        stack_kind::CPU => vec![column("samples", Measure::Count), column("cpu", Measure::Time)],
        stack_kind::FAULT => vec![column("faults", Measure::Count)],
        stack_kind::FUTEX => {
            vec![column("futex_waits", Measure::Count), column("futex_time", Measure::Time)]
        }
        stack_kind::MAJOR_FAULT => vec![column("major_faults", Measure::Count)],
        stack_kind::LOOKUP => vec![column("lookups", Measure::Count)],
        // As Go's own profiles of its heap have them: readers know these names.
        stack_kind::MALLOC => {
            let mut columns = vec![
                column("alloc_objects", Measure::Count),
                column("alloc_space", Measure::Bytes),
            ];
            if in_use {
                columns.push(column("inuse_objects", Measure::InUseObjects));
                columns.push(column("inuse_space", Measure::InUseSpace));
            }
            columns
        }
        call if Syscall::ALL.iter().any(|syscall| syscall.name() == call) => vec![
            column(&format!("{call}_calls"), Measure::Count),
            column(&format!("{call}_space"), Measure::Bytes),
            column(&format!("{call}_time"), Measure::Time),
        ],
        _ => Vec::new(),
    }
}
