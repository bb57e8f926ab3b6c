//! What closer looks found, as samples.

use super::sample::Sample;
use crate::aggregate::MachineSnapshot;
use crate::diagnose::Finding;

pub(super) fn findings(
    machine: &MachineSnapshot,
    value: fn(&Finding) -> Option<f64>,
) -> Vec<Sample> {
    let findings = machine.looks.found.iter().flat_map(|(group, found)| {
        found.findings.iter().filter_map(move |finding| {
            let sample = Sample::new(value(finding)?);
            Some(sample.label("group", group).label("finding", &finding.id))
        })
    });
    findings.collect()
}
