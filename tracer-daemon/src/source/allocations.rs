//! The kernel's side of the probes on an allocator: where they lie, and what they counted.

use std::collections::{BTreeSet, HashMap};

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError, PerCpuArray},
};
use tracer_common::{
    AllocationCall, AllocationCounter, ExactSizes, HitCounter, LARGEST_EXACT_SIZE, PlacedSite,
    ResizeCounter, Site, SiteKey,
};

use super::take;
use crate::aggregate::{counters::Sum, exact_sizes::SizedCalls};

/// Counters of one process's allocator calls, and the table of places.
pub struct AllocationMaps {
    sites: Array<MapData, PlacedSite>,
    calls: PerCpuArray<MapData, AllocationCounter>,
    exact_sizes: Array<MapData, ExactSizes>,
    resizes: PerCpuArray<MapData, ResizeCounter>,
    hits: PerCpuArray<MapData, u64>,
    /// The functions that have places.
    functions: BTreeSet<AllocationCall>,
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
            functions: BTreeSet::new(),
        })
    }

    /// Says what a probe in a process sees.
    ///
    /// # Errors
    /// When its slots are taken.
    pub fn add(&mut self, key: SiteKey, site: Site) -> Result<(), MapError> {
        for slot in (0..SiteKey::TRIES).map(|attempt| key.slot(attempt)) {
            let there = self.sites.get(&slot, 0)?.key;
            if there == key || there == SiteKey::NONE {
                self.functions.extend(AllocationCall::from_u32(site.call));
                return self.sites.set(slot, PlacedSite { key, site }, 0);
            }
        }
        Err(MapError::OutOfBounds { index: key.slot(0), max_entries: SiteKey::SLOTS })
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
    /// When the kernel refuses to read the map.
    pub fn read(&self) -> Result<HashMap<AllocationCall, AllocationCounter>, MapError> {
        let counter = |call: &AllocationCall| {
            let values = self.calls.get(&(*call as u32), 0)?;
            Ok((*call, values.iter().copied().fold(AllocationCounter::NONE, Sum::plus)))
        };
        self.functions.iter().map(counter).collect()
    }

    /// Calls so far that wanted a block to have another size, while results were seen; of all functions.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn resizes(&self) -> Result<ResizeCounter, MapError> {
        let mut all = ResizeCounter::default();
        for call in AllocationCall::ALL.into_iter().filter(|call| call.resizes()) {
            all = self.resizes.get(&(call as u32), 0)?.iter().copied().fold(all, Sum::plus);
        }
        Ok(all)
    }

    /// Calls so far for each small size that was asked for, each function's.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn exact_sizes(&self) -> Result<Vec<SizedCalls>, MapError> {
        let mut all = Vec::new();
        for call in self.functions.iter().copied().filter(|call| !call.gives_back()) {
            let mut sizes = vec![0; LARGEST_EXACT_SIZE as usize + 1];
            for shard in 0..self.exact_sizes.len() / ExactSizes::SHARD {
                for bytes in (0..sizes.len()).step_by(ExactSizes::SIZES) {
                    let (entry, _) = ExactSizes::place(shard, call as u32, bytes as u32);
                    let there = self.exact_sizes.get(&entry, 0)?.calls;
                    let sums = sizes[bytes..].iter_mut();
                    sums.zip(there).for_each(|(sum, calls)| *sum += calls);
                }
            }
            let asked = (0..).zip(sizes).filter(|(_, calls)| *calls != 0);
            all.extend(asked.map(|(bytes, calls)| SizedCalls { call, bytes, calls }));
        }
        Ok(all)
    }
}
