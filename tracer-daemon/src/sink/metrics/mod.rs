//! The machine as Prometheus reads it. A metric is a row of `table::METRICS`.

mod allocator;
mod duration;
mod looks;
mod sample;
mod table;

#[cfg(test)]
mod tests;

use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use crate::aggregate::MachineSnapshot;

/// The content type of what [`render`] makes.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The metrics of a snapshot in Prometheus's text format.
pub fn render(machine: &MachineSnapshot) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(&families(machine))
}

/// A metric without samples is left out: the format has no way to say "none".
fn families(machine: &MachineSnapshot) -> Vec<MetricFamily> {
    let families = table::METRICS.iter().map(|row| {
        let samples = (row.samples)(machine);
        let mut family = MetricFamily::default();
        family.set_name(row.name.to_owned());
        family.set_help(row.help.to_owned());
        family.set_field_type(row.kind);
        family.set_metric(samples.into_iter().map(|sample| sample.into_metric(row.kind)).collect());
        family
    });
    families.filter(|family| !family.get_metric().is_empty()).collect()
}
