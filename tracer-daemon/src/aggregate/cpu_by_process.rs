//! CPU samples of every process of a machine, as counts that only grow.

use std::collections::{HashMap, HashSet};

use tracer_common::{CpuSample, KERNEL_FRAMES, ProcessId};

use super::{
    cpu::CpuClass,
    kernel_path::{KernelNames, Paths},
};

/// What samples are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CpuKey {
    /// Who had the CPU.
    pub process: ProcessId,
    /// What for.
    pub class: CpuClass,
}

/// The samples so far.
pub struct CpuByProcess<N> {
    kernel_names: N,
    paths: Paths,
    counts: HashMap<CpuKey, u64>,
}

impl<N: KernelNames> CpuByProcess<N> {
    /// Nothing yet.
    #[must_use]
    pub fn new(kernel_names: N) -> Self {
        Self { kernel_names, paths: Paths::default(), counts: HashMap::new() }
    }

    /// Takes a sample into account.
    pub fn add(&mut self, sample: &CpuSample) {
        let class = if sample.user != 0 {
            CpuClass::User
        } else {
            let depth = (sample.depth as usize).min(KERNEL_FRAMES);
            let path = self.paths.path(&sample.frames[..depth], &self.kernel_names);
            CpuClass::of_kernel(path)
        };
        *self.counts.entry(CpuKey { process: sample.header.process, class }).or_default() += 1;
    }

    /// Samples since the beginning of each process.
    #[must_use]
    pub fn counts(&self) -> &HashMap<CpuKey, u64> {
        &self.counts
    }

    /// Forgets processes that have ended.
    pub fn forget(&mut self, ended: &[ProcessId]) {
        let ended: HashSet<_> = ended.iter().collect();
        self.counts.retain(|key, _| !ended.contains(&key.process));
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::{Header, RecordKind};

    use super::*;
    use crate::aggregate::kernel_path::tests::Names;

    const A: ProcessId = ProcessId::new(1, 10);
    const B: ProcessId = ProcessId::new(2, 10);

    fn sample(process: ProcessId, user: bool, frames: &[u64]) -> CpuSample {
        let header = Header { kind: RecordKind::Cpu as u32, tid: process.pid, process, time_ns: 0 };
        let mut sample = CpuSample {
            header,
            user: u32::from(user),
            depth: frames.len() as u32,
            frames: [0; KERNEL_FRAMES],
        };
        sample.frames[..frames.len()].copy_from_slice(frames);
        sample
    }

    #[test]
    fn samples_count_for_their_process_and_place_until_it_is_forgotten() {
        let mut cpu = CpuByProcess::new(Names(&["clear_page_erms", "asm_exc_page_fault"]));
        cpu.add(&sample(A, true, &[]));
        cpu.add(&sample(A, false, &[0, 1]));
        cpu.add(&sample(A, false, &[0, 1]));
        cpu.add(&sample(B, false, &[1]));
        let count = |cpu: &CpuByProcess<_>, process, class| {
            cpu.counts().get(&CpuKey { process, class }).copied()
        };
        assert_eq!(count(&cpu, A, CpuClass::User), Some(1));
        assert_eq!(count(&cpu, A, CpuClass::Kernel("page_zeroing")), Some(2));
        assert_eq!(count(&cpu, B, CpuClass::Kernel("fault")), Some(1));
        cpu.forget(&[A]);
        assert_eq!(count(&cpu, A, CpuClass::User), None);
        assert_eq!(count(&cpu, B, CpuClass::Kernel("fault")), Some(1));
    }
}
