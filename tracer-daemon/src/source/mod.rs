//! What comes out of the kernel: counters as they stand, and records. With `probes::attach` the
//! only code that knows aya.

mod allocations;
mod readers;
pub mod replay;

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{
    Ebpf, Pod,
    maps::{
        Array, HashMap as KernelHash, Map, MapData, MapError, PerCpuArray, PerCpuHashMap,
        PerCpuValues, RingBuf,
    },
    util::nr_cpus,
};
use tracer_common::{
    Control, ErrnoKey, ExitTotals, FaultTime, FutexWaits, Lifecycle, LockKey, LockWaits,
    LookupCounts, Loss, ProcessId, Syscall, SyscallCounter, SyscallKey, Target, Thread,
};

use crate::aggregate::counters::{Counters, Sum};

pub use allocations::AllocationMaps;
pub use readers::Readers;

/// The kernel's counters and the table of targets.
pub struct KernelMaps {
    control: Array<MapData, Control>,
    targets: KernelHash<MapData, u32, Target>,
    syscalls: PerCpuHashMap<MapData, SyscallKey, SyscallCounter>,
    errnos: PerCpuHashMap<MapData, ErrnoKey, u64>,
    fault_times: PerCpuHashMap<MapData, ProcessId, FaultTime>,
    lifecycles: PerCpuHashMap<MapData, ProcessId, Lifecycle>,
    lock_waits: PerCpuHashMap<MapData, LockKey, LockWaits>,
    futex_waits: PerCpuHashMap<MapData, ProcessId, FutexWaits>,
    lookups: PerCpuHashMap<MapData, ProcessId, LookupCounts>,
    threads: KernelHash<MapData, u32, Thread>,
    exits: KernelHash<MapData, ProcessId, ExitTotals>,
    lost: PerCpuArray<MapData, u64>,
    /// Those of the probes on an allocator.
    pub allocations: AllocationMaps,
}

impl KernelMaps {
    /// Takes the maps out of the loaded object.
    ///
    /// # Errors
    /// When a map is missing or of another type: the object is not this version's.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        Ok(Self {
            control: take(ebpf, "CONTROL")?,
            targets: take(ebpf, "TARGETS")?,
            syscalls: take(ebpf, "SYSCALLS")?,
            errnos: take(ebpf, "ERRNOS")?,
            fault_times: take(ebpf, "FAULT_TIMES")?,
            lifecycles: take(ebpf, "LIFECYCLES")?,
            lock_waits: take(ebpf, "LOCK_WAITS")?,
            futex_waits: take(ebpf, "FUTEX_WAITS")?,
            lookups: take(ebpf, "LOOKUPS")?,
            threads: take(ebpf, "THREADS")?,
            exits: take(ebpf, "EXITS")?,
            lost: take(ebpf, "LOST")?,
            allocations: AllocationMaps::take(ebpf)?,
        })
    }

    /// Starts counting for a process.
    ///
    /// # Errors
    /// When the table is full.
    pub fn trace(&mut self, pid: u32, target: Target) -> Result<(), MapError> {
        // Made here, because the kernel programs can be refused memory for an entry.
        let nothing = vec![SyscallCounter::default(); nr_cpus().map_err(|(_, error)| error)?];
        for syscall in Syscall::ALL {
            let process = ProcessId::new(pid, target.start_ticks);
            let key = SyscallKey { process, syscall: syscall as u32, reserved: 0 };
            self.syscalls.insert(key, PerCpuValues::try_from(nothing.clone())?, 0)?;
        }
        self.targets.insert(pid, target, 0)
    }

    /// Changes what the programs do.
    ///
    /// # Errors
    /// When the kernel refuses the change.
    pub fn control(&mut self, control: Control) -> Result<(), MapError> {
        self.control.set(0, control, 0)
    }

    /// The processes that are being counted.
    ///
    /// # Errors
    /// When the kernel refuses to read the table.
    pub fn targets(&self) -> Result<Vec<(u32, Target)>, MapError> {
        self.targets.iter().collect()
    }

    /// Every counter as it stands.
    ///
    /// # Errors
    /// When the kernel refuses to read a map.
    pub fn read(&self) -> Result<Counters, MapError> {
        // First: what has ended then has counted all that it ever will.
        let exits = self.exits.iter().collect::<Result<_, _>>()?;
        Ok(Counters {
            exits,
            syscalls: summed(&self.syscalls)?,
            errnos: summed(&self.errnos)?,
            fault_times: summed(&self.fault_times)?,
            lifecycles: self.lifecycles()?,
            lock_waits: summed(&self.lock_waits)?,
            futex_waits: summed(&self.futex_waits)?,
            lookups: HashMap::new(),
            cpu: HashMap::new(),
            lost: self.lost()?,
        })
    }

    /// Look-ups by process, as the programs for a whole machine count them.
    ///
    /// # Errors
    /// When the kernel refuses to read the map.
    pub fn lookups_of_machine(&self) -> Result<HashMap<ProcessId, LookupCounts>, MapError> {
        summed(&self.lookups)
    }

    /// Look-ups, of the threads that live and of those that have ended. Apart from the rest, for it
    /// reads every thread.
    ///
    /// # Errors
    /// When the kernel refuses to read a map.
    pub fn lookups(&self) -> Result<HashMap<ProcessId, LookupCounts>, MapError> {
        let mut all = summed(&self.lookups)?;
        for thread in self.threads.iter() {
            let (_, thread) = thread?;
            let sum = all.entry(thread.process).or_default();
            *sum = sum.plus(thread.lookups);
        }
        Ok(all)
    }

    fn lifecycles(&self) -> Result<HashMap<ProcessId, Lifecycle>, MapError> {
        let mut all = summed(&self.lifecycles)?;
        for counts in all.values_mut() {
            // Threads that end together each take themselves for the last.
            counts.exits = counts.exits.min(1);
        }
        Ok(all)
    }

    /// Takes ended processes off the table of targets.
    ///
    /// # Errors
    /// When the kernel refuses to read the table.
    pub fn drop_ended_targets(&mut self) -> Result<(), MapError> {
        for (pid, target) in self.targets()? {
            let process = ProcessId::new(pid, target.start_ticks);
            if self.exits.get(&process, 0).is_ok_and(|exit| exit.dead != 0) {
                // Whatever is not there any more need not be removed.
                let _ = self.targets.remove(&pid);
            }
        }
        Ok(())
    }

    fn lost(&self) -> Result<HashMap<Loss, u64>, MapError> {
        Loss::ALL
            .into_iter()
            .map(|cause| Ok((cause, self.lost.get(&(cause as u32), 0)?.iter().sum())))
            .collect()
    }

    /// Forgets processes that have ended: nothing counts for them any more.
    pub fn forget(&mut self, counters: &Counters, ended: &[ProcessId]) {
        if ended.is_empty() {
            return;
        }
        let ended: HashSet<ProcessId> = ended.iter().copied().collect();
        let is_theirs = |process: &ProcessId| ended.contains(process);
        // Whatever is not there any more need not be removed.
        for key in counters.syscalls.keys().filter(|k| is_theirs(&k.process)) {
            let _ = self.syscalls.remove(key);
        }
        for key in counters.errnos.keys().filter(|k| is_theirs(&k.process)) {
            let _ = self.errnos.remove(key);
        }
        for key in counters.lock_waits.keys().filter(|k| is_theirs(&k.process)) {
            let _ = self.lock_waits.remove(key);
        }
        for process in &ended {
            let _ = self.fault_times.remove(process);
            let _ = self.lifecycles.remove(process);
            let _ = self.lookups.remove(process);
            let _ = self.exits.remove(process);
        }
    }
}

/// A map out of the loaded object.
fn take<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<T, MapError> {
    let map = ebpf.take_map(name).ok_or_else(|| MapError::InvalidName { name: name.to_owned() })?;
    map.try_into()
}

/// A per-CPU map, each entry summed over the CPUs. A key that the kernel hands out twice while
/// the map changes counts once.
fn summed<K: Pod + Eq + Hash, V: Pod + Sum>(
    map: &PerCpuHashMap<MapData, K, V>,
) -> Result<HashMap<K, V>, MapError> {
    map.iter()
        .map(|entry| {
            let (key, values) = entry?;
            Ok((key, values.iter().copied().reduce(Sum::plus).ok_or(MapError::ElementNotFound)?))
        })
        .collect()
}

/// The records, oldest first.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    /// Takes the ring buffer out of the loaded object.
    ///
    /// # Errors
    /// When it is missing: the object is not this version's.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        take(ebpf, "EVENTS").map(Self)
    }

    /// The next record, if there is one.
    pub fn with_next<T>(&mut self, use_record: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.0.next().map(|record| use_record(&record))
    }

    /// Becomes readable when the kernel programs ask for attention. Only they do: records as such
    /// do not.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn wake_ups(&self) -> io::Result<OwnedFd> {
        self.0.as_fd().try_clone_to_owned()
    }
}
