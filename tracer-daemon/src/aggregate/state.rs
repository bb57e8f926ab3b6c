//! Events, one after the other, become sums.

use std::{collections::HashMap, sync::Arc};

use tracer_common::{
    AllocationCall, AllocationSample, CpuSample, FaultSample, Fork, Header, KERNEL_FRAMES, Lookup,
    LookupSample, MemoryCall, ProcessId, SampleId, Syscall,
};

use super::{
    allocation_samples::{stands_for, wait_stands_for},
    blocks::Blocks,
    cpu::CpuSamples,
    cycles::Cycles,
    faults::{Faults, Pages},
    heap_break::HeapBreaks,
    kernel_path::{KernelNames, Paths},
    lookups::Lookups,
    major_faults::MajorFaultSamples,
    mappings::{AddressSpace, CallTime, Cycle, Placement},
    snapshot::LookupPath,
    stack_kind::StackKind,
    stacks::{Program, Sample, StackSum, Stacks},
};
use crate::{decode::Event, unwind::StackCopy};

const PROT_EXEC: u64 = 4;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MREMAP_DONTUNMAP: u64 = 4;
/// Mappings followed at once in one process; a process cannot have more areas by default than
/// this, and what comes beyond is counted as lost.
const MOST_MAPPINGS: usize = 1 << 18;

/// A process as its records show it.
#[derive(Debug, Default)]
struct Process {
    space: AddressSpace,
    pages: Pages,
    programs: u32,
}

/// Everything that records add up to.
pub struct State<N> {
    processes: HashMap<ProcessId, Process>,
    kernel_names: N,
    paths: Paths,
    died: Vec<Cycle>,
    /// Finished mappings.
    pub cycles: Cycles,
    /// Moves of the program break.
    pub breaks: HeapBreaks,
    /// Sampled stacks.
    pub stacks: Stacks,
    /// Samples of the CPU clock.
    pub cpu: CpuSamples,
    /// Samples of look-ups.
    pub lookups: Lookups,
    /// Samples of the allocator's calls.
    pub allocation_samples: u64,
    /// The blocks that those returned.
    pub blocks: Blocks,
    /// Sampled faults.
    pub faults: Faults,
    /// Faults that read from disk.
    pub major_faults: MajorFaultSamples,
    /// Processes whose end was heard of.
    pub ended: u64,
    /// Mappings that found no room.
    pub untracked: u64,
}

impl<N: KernelNames> State<N> {
    /// Nothing yet.
    #[must_use]
    pub fn new(kernel_names: N) -> Self {
        Self {
            processes: HashMap::new(),
            kernel_names,
            paths: Paths::default(),
            died: Vec::new(),
            cycles: Cycles::new(),
            breaks: HeapBreaks::default(),
            stacks: Stacks::default(),
            cpu: CpuSamples::default(),
            lookups: Lookups::default(),
            allocation_samples: 0,
            blocks: Blocks::default(),
            faults: Faults::default(),
            major_faults: MajorFaultSamples::default(),
            ended: 0,
            untracked: 0,
        }
    }

    /// Takes a record into account.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Memory(syscall, call, stack) => self.memory(*syscall, call, stack.as_ref()),
            Event::Fault(fault, stack) => self.fault(fault, stack.as_ref()),
            Event::MajorFault(fault, stack) => self.major_fault(fault, stack.as_ref()),
            Event::Cpu(sample, stack) => self.cpu(sample, stack.as_ref()),
            Event::Lookup(function, sample, stack) => {
                self.lookup(*function, sample, stack.as_ref());
            }
            Event::Allocation(call, sample, stack) => self.allocation(*call, sample, stack),
            Event::Resized(resize, record) => self.blocks.resized(*resize, record),
            Event::Born(record) => self.blocks.born(record),
            Event::Ended(record) => self.blocks.ended(record),
            Event::Futex(wait, stack) => {
                let sum = wait_stands_for(wait);
                self.stack(wait.header.process, StackKind::Futex, stack, sum);
            }
            Event::Fork(fork) => self.fork(fork),
            Event::Exec(header) => {
                self.blocks.forget(header.process);
                let process = self.processes.entry(header.process).or_default();
                process.pages = Pages::default();
                let gone = std::mem::take(&mut process.space);
                gone.born_sizes().for_each(|bytes| self.cycles.vanished(bytes));
                process.programs += 1;
                self.stacks.loaded((header.process, process.programs));
            }
            Event::Exit(header) => {
                self.ended += 1;
                if let Some(process) = self.processes.remove(&header.process) {
                    process.space.born_sizes().for_each(|bytes| self.cycles.vanished(bytes));
                }
            }
        }
    }

    fn memory(&mut self, syscall: Syscall, call: &MemoryCall, stack: Option<&Arc<StackCopy>>) {
        let time = CallTime { end_ns: call.header.time_ns, duration_ns: call.duration_ns };
        let process = self.processes.entry(call.header.process).or_default();
        let space = &mut process.space;
        let [first, second, third, fourth, _] = call.args;
        match syscall {
            Syscall::Mmap if space.len() >= MOST_MAPPINGS => self.untracked += 1,
            Syscall::Mmap => {
                process.pages.replaced(call.result, second);
                let placement =
                    if fourth & MAP_FIXED == 0 { Placement::Free } else { Placement::Fixed };
                let born = space.map(call.result, second, placement, time, &mut self.died);
                if let Some(bytes) = born {
                    self.cycles.born(bytes);
                }
                if third & PROT_EXEC != 0 && fourth & MAP_ANONYMOUS == 0 {
                    self.stacks.loaded((call.header.process, process.programs));
                }
            }
            Syscall::Munmap => {
                process.pages.replaced(first, second);
                space.unmap(first, second, time, &mut self.died);
            }
            Syscall::Mremap => {
                let (from, to) = ((first, second), (call.result, third));
                process.pages.replaced(from.0, from.1);
                process.pages.replaced(to.0, to.1);
                space.remap(from, to, fourth & MREMAP_DONTUNMAP != 0, time, &mut self.died);
            }
            // The break before the call is unknown without BTF.
            Syscall::Brk if second > 0 => {
                self.breaks.moved(&mut process.pages.heap, second, call.result, call.duration_ns);
            }
            Syscall::Madvise => process.pages.advised(first, second, third),
            Syscall::Mprotect | Syscall::Brk => {}
        }
        for cycle in self.died.drain(..) {
            self.cycles.add(&cycle);
        }
        if let Some(stack) = stack {
            let weight = u64::from(call.stack_weight);
            let sum = StackSum {
                count: weight,
                bytes: weight.saturating_mul(syscall.bytes(&call.args, call.result)),
                duration_ns: weight.saturating_mul(call.duration_ns),
            };
            self.stack(call.header.process, StackKind::Call(syscall), stack, sum);
        }
    }

    fn fault(&mut self, fault: &FaultSample, stack: Option<&Arc<StackCopy>>) {
        let weight = u64::from(fault.weight);
        let process = self.processes.entry(fault.header.process).or_default();
        let mapping = process.space.fault(fault.address, weight);
        let cause = process.pages.fault(fault.address, fault.header.time_ns, mapping);
        let program = (fault.header.process, process.programs);
        self.faults.add(cause, program, fault.address, weight);
        if let Some(stack) = stack {
            let count = u64::from(fault.stack_weight);
            let sum =
                StackSum { count, bytes: 0, duration_ns: count.saturating_mul(fault.duration_ns) };
            self.stack(fault.header.process, StackKind::Fault(cause), stack, sum);
        }
    }

    fn major_fault(&mut self, fault: &FaultSample, stack: Option<&Arc<StackCopy>>) {
        let program = self.program(fault.header.process);
        self.major_faults.add(program, fault.address);
        if let Some(stack) = stack {
            let sum = StackSum { count: fault.stack_weight.into(), ..StackSum::default() };
            self.stack(fault.header.process, StackKind::MajorFault, stack, sum);
        }
    }

    fn cpu(&mut self, sample: &CpuSample, stack: Option<&Arc<StackCopy>>) {
        let class = if sample.user != 0 {
            self.cpu.add_user()
        } else {
            let depth = (sample.depth as usize).min(KERNEL_FRAMES);
            self.cpu.add_kernel(self.paths.path(&sample.frames[..depth], &self.kernel_names))
        };
        if let Some(stack) = stack {
            let sum = StackSum { count: 1, ..StackSum::default() };
            self.stack(sample.header.process, StackKind::Cpu(class), stack, sum);
        }
    }

    fn lookup(&mut self, function: Lookup, sample: &LookupSample, stack: Option<&Arc<StackCopy>>) {
        let depth = (sample.depth as usize).min(KERNEL_FRAMES);
        let frames = &sample.frames[..depth];
        let path = self.paths.path(frames, &self.kernel_names);
        self.lookups.add(function, path, frames, u64::from(sample.weight));
        if sample.address != 0 {
            let program = self.program(sample.header.process);
            self.lookups.add_address(function, program, sample.address);
        }
        if let Some(stack) = stack {
            let sum = StackSum { count: u64::from(sample.stack_weight), ..StackSum::default() };
            self.stack(sample.header.process, StackKind::Lookup(function), stack, sum);
        }
    }

    fn allocation(
        &mut self,
        call: AllocationCall,
        sample: &AllocationSample,
        stack: &Arc<StackCopy>,
    ) {
        self.allocation_samples += 1;
        let Header { process, tid, time_ns, .. } = sample.header;
        let id = SampleId { time_ns, tid, reserved: 0 };
        let sum = stands_for(sample);
        self.blocks.sampled(id, sum);
        let (program, kind) = (self.program(process), StackKind::Allocation(call));
        let stack = Arc::clone(stack);
        self.stacks.wait(Sample { program, kind, stack, sum, id: Some(id) });
    }

    /// Tells the blocks where they come from, as far as stacks have been unwound since.
    pub fn settle_blocks(&mut self) {
        for (id, key) in self.stacks.take_callers() {
            self.blocks.come_from(id, key);
        }
    }

    fn stack(
        &mut self,
        process: ProcessId,
        kind: StackKind,
        stack: &Arc<StackCopy>,
        sum: StackSum,
    ) {
        let (program, stack) = (self.program(process), Arc::clone(stack));
        self.stacks.wait(Sample { program, kind, stack, sum, id: None });
    }

    fn program(&self, process: ProcessId) -> Program {
        (process, self.processes.get(&process).map_or(0, |known| known.programs))
    }

    /// The most frequent ways to a look-up.
    #[must_use]
    pub fn lookup_paths(&self, function: Lookup) -> Vec<LookupPath> {
        self.lookups.paths(function, &self.kernel_names)
    }

    /// A child begins with its parent's mappings.
    fn fork(&mut self, fork: &Fork) {
        let parent = self.processes.entry(fork.header.process).or_default();
        parent.pages.forked();
        if fork.child.pid != 0 {
            let child = Process {
                space: parent.space.clone(),
                pages: parent.pages.of_child(),
                programs: parent.programs,
            };
            self.processes.insert(fork.child, child);
        }
    }
}
