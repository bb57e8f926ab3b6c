//! The kernel's side of the probes on an allocator: where they lie, and what they counted.

use std::collections::HashMap;

use aya::{
    Ebpf,
    maps::{HashMap as KernelHash, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use tracer_common::{
    AllocationCall, AllocationCounter, AllocationKey, ExactSizeKey, HitCounter, ProcessId,
    ResizeCounter, Site, SiteKey,
};

use super::{summed, take};
use crate::aggregate::{counters::Sum, exact_sizes::SizedCalls};

/// Counters of allocator calls, and the table of places.
pub struct AllocationMaps {
    sites: KernelHash<MapData, SiteKey, Site>,
    calls: PerCpuHashMap<MapData, AllocationKey, AllocationCounter>,
    exact_sizes: PerCpuHashMap<MapData, ExactSizeKey, u64>,
    resizes: PerCpuHashMap<MapData, AllocationKey, ResizeCounter>,
    hits: PerCpuArray<MapData, u64>,
}

impl AllocationMaps {
    /// Takes the maps out of the loaded object.
    ///
    /// # Errors
    /// When a map is missing or of another type: the object is not this version's.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        Ok(Self {
            sites: take(ebpf, "SITES")?,
            calls: take(ebpf, "ALLOCATIONS")?,
            exact_sizes: take(ebpf, "EXACT_SIZES")?,
            resizes: take(ebpf, "RESIZES")?,
            hits: take(ebpf, "PROBE_HITS")?,
        })
    }

    /// Says what a probe in a process sees, and makes the counter for it: the kernel program can be
    /// refused memory for one.
    ///
    /// # Errors
    /// When a table is full.
    pub fn add(&mut self, process: ProcessId, key: SiteKey, site: Site) -> Result<(), MapError> {
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        let counter = AllocationKey { process, call: site.call, reserved: 0 };
        let nothing = vec![AllocationCounter::NONE; cpus];
        self.calls.insert(counter, PerCpuValues::try_from(nothing)?, 0)?;
        if AllocationCall::from_u32(site.call).is_some_and(AllocationCall::resizes) {
            let nothing = vec![ResizeCounter::default(); cpus];
            self.resizes.insert(counter, PerCpuValues::try_from(nothing)?, 0)?;
        }
        self.add_site(key, site)
    }

    /// Says what a probe sees, one whose hits are not to be counted as calls.
    ///
    /// # Errors
    /// When the table is full.
    pub fn add_site(&mut self, key: SiteKey, site: Site) -> Result<(), MapError> {
        self.sites.insert(key, site, 0)
    }

    /// Hits of probes so far, in the order of [`HitCounter::ALL`]: more than calls, for the allocator
    /// may call itself.
    ///
    /// # Errors
    /// When the kernel refuses to read the map.
    pub fn hits(&self) -> Result<[u64; HitCounter::ALL.len()], MapError> {
        let mut hits = [0; HitCounter::ALL.len()];
        for (sum, cost) in hits.iter_mut().zip(HitCounter::ALL) {
            *sum = self.hits.get(&(cost as u32), 0)?.iter().sum();
        }
        Ok(hits)
    }

    /// Calls so far, each function's.
    ///
    /// # Errors
    /// When the kernel refuses to read the map, or holds a call that does not exist.
    pub fn read(
        &self,
        process: ProcessId,
    ) -> Result<HashMap<AllocationCall, AllocationCounter>, MapError> {
        let all = summed(&self.calls)?.into_iter().filter(|(key, _)| key.process == process);
        all.map(|(key, counter)| {
            let call = AllocationCall::from_u32(key.call).ok_or(MapError::ElementNotFound)?;
            Ok((call, counter))
        })
        .collect()
    }

    /// Calls so far that wanted a block to have another size, while results were seen; of all functions.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn resizes(&self, process: ProcessId) -> Result<ResizeCounter, MapError> {
        let all = summed(&self.resizes)?.into_iter().filter(|(key, _)| key.process == process);
        Ok(all.map(|(_, counter)| counter).reduce(Sum::plus).unwrap_or_default())
    }

    /// Calls so far for each small size, each function's.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn exact_sizes(&self, process: ProcessId) -> Result<Vec<SizedCalls>, MapError> {
        let all = summed(&self.exact_sizes)?.into_iter().filter(|(key, _)| key.process == process);
        all.map(|(key, calls)| {
            let call = AllocationCall::from_u32(key.call).ok_or(MapError::ElementNotFound)?;
            Ok(SizedCalls { call, bytes: key.bytes.into(), calls })
        })
        .collect()
    }
}
