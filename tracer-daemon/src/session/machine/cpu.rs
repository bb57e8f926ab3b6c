use std::{collections::HashMap, path::Path};

use tracer_common::ProcessId;

use crate::{
    aggregate::cpu_by_process::{CpuByProcess, CpuKey},
    decode::{Event, decode},
    source::Ring,
    symbolize::KernelSymbols,
};

/// The machine's CPU samples, taken out of the ring.
pub(super) struct CpuRecords {
    ring: Ring,
    samples: CpuByProcess<KernelSymbols>,
}

impl CpuRecords {
    /// Without the kernel's symbols all of its work is `other_kernel`.
    pub(super) fn new(ring: Ring) -> Self {
        let names = KernelSymbols::read(Path::new("/")).unwrap_or_default();
        if names.is_empty() {
            log::warn!(
                "the kernel's functions are not to be seen (CAP_SYSLOG is missing): its CPU time is \
                 all other_kernel"
            );
        }
        Self { ring, samples: CpuByProcess::new(names) }
    }

    /// Takes out what has come.
    pub(super) fn drain(&mut self) {
        let samples = &mut self.samples;
        let mut take = |record: &[u8]| match decode(record) {
            Ok(Event::Cpu(sample, _)) => samples.add(&sample),
            Ok(_) => {}
            Err(error) => log::warn!("{error}"),
        };
        while self.ring.with_next(&mut take).is_some() {}
    }

    /// Samples of each process since its beginning.
    pub(super) fn counts(&self) -> HashMap<CpuKey, u64> {
        self.samples.counts().clone()
    }

    /// Forgets processes that have ended.
    pub(super) fn forget(&mut self, ended: &[ProcessId]) {
        self.samples.forget(ended);
    }
}
