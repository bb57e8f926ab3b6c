use std::{collections::BTreeMap, fs};

use aya::Ebpf;

use crate::{aggregate::machine::ProgramRuns, census::ProcRoot};

/// Runs of the loaded programs; none where the administrator has not made the kernel count them
/// (`sysctl kernel.bpf_stats_enabled=1`): with counting on for part of the time only, the numbers
/// would be too low.
pub(super) fn runs(ebpf: &Ebpf, root: &ProcRoot) -> BTreeMap<String, ProgramRuns> {
    let switch = root.path().join("proc/sys/kernel/bpf_stats_enabled");
    if !fs::read_to_string(switch).is_ok_and(|text| text.trim() == "1") {
        return BTreeMap::new();
    }
    let loaded =
        ebpf.programs().filter_map(|(name, program)| Some((name.to_owned(), program.info().ok()?)));
    loaded
        .map(|(name, info)| {
            let runs =
                ProgramRuns { runs: info.run_count(), seconds: info.run_time().as_secs_f64() };
            (name, runs)
        })
        .collect()
}
