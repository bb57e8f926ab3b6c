//! Births and deaths of the mappings of one address space.
//!
//! Records come in the order in which calls returned, not in the order in which they took effect:
//! between a thread's `munmap` taking effect and its record, another thread may have been given
//! the same addresses. Two rules undo that. A call can only unmap what had been handed out before
//! it began; and where the kernel places a new mapping freely, nothing older can be left.

use std::collections::{BTreeMap, HashMap};

/// Mappings are made of pages.
const PAGE: u64 = 4096;

/// Identifies a mapping within its address space.
type MappingId = u64;

/// A mapping on its way from birth to death.
#[derive(Clone, Debug)]
struct Mapping {
    born_bytes: u64,
    bytes: u64,
    left: u64,
    born_ns: u64,
    birth_duration_ns: u64,
    death_duration_ns: u64,
    fault_weight: u64,
}

/// A mapping made and unmade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Its length at birth.
    pub born_bytes: u64,
    /// Its length at the end.
    pub bytes: u64,
    /// How long it lived.
    pub lifetime_ns: u64,
    /// Kernel time of the call that made it.
    pub birth_duration_ns: u64,
    /// Kernel time of the calls that unmade it.
    pub death_duration_ns: u64,
    /// Faults that fell inside it, by the samples.
    pub fault_weight: u64,
}

/// A call's place in time.
#[derive(Clone, Copy, Debug)]
pub struct CallTime {
    /// When it returned.
    pub end_ns: u64,
    /// How long it took.
    pub duration_ns: u64,
}

impl CallTime {
    const fn begin_ns(self) -> u64 {
        self.end_ns.saturating_sub(self.duration_ns)
    }
}

/// What is mapped, as far as its birth was seen.
#[derive(Clone, Debug, Default)]
pub struct AddressSpace {
    mappings: HashMap<MappingId, Mapping>,
    /// Start → (end, whose). Pieces never overlap.
    pieces: BTreeMap<u64, (u64, MappingId)>,
    next: MappingId,
}

/// How far an unmapping reaches.
#[derive(Clone, Copy)]
enum Reach {
    /// To what was handed out before this moment.
    OlderThan(u64),
    /// To everything.
    All,
}

impl AddressSpace {
    /// Mappings alive whose birth was seen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mappings.len()
    }

    /// Whether no mapping's birth was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mappings.is_empty()
    }

    /// Lengths at birth of what is mapped.
    pub fn born_sizes(&self) -> impl Iterator<Item = u64> {
        self.mappings.values().map(|mapping| mapping.born_bytes)
    }

    /// `mmap` returned `start`. Whatever lay there is gone.
    ///
    /// Returns the new mapping's length in whole pages; nothing for an impossible range.
    pub fn map(
        &mut self,
        start: u64,
        length: u64,
        time: CallTime,
        died: &mut Vec<Cycle>,
    ) -> Option<u64> {
        let (start, end) = pages(start, length)?;
        self.clear(
            start,
            end,
            Reach::All,
            CallTime {
                duration_ns: 0,
                ..time
            },
            died,
        );
        self.give_birth(start, end, time);
        Some(end - start)
    }

    /// `munmap` of a range returned.
    pub fn unmap(&mut self, start: u64, length: u64, time: CallTime, died: &mut Vec<Cycle>) {
        let Some((start, end)) = pages(start, length) else {
            return;
        };
        self.clear(start, end, Reach::OlderThan(time.begin_ns()), time, died);
    }

    /// `mremap` returned `to`. The mapping lives on under its new address and length.
    pub fn remap(
        &mut self,
        from: (u64, u64),
        to: (u64, u64),
        keeps_old: bool,
        time: CallTime,
        died: &mut Vec<Cycle>,
    ) {
        let Some((new_start, new_end)) = pages(to.0, to.1) else {
            return;
        };
        let old = pages(from.0, from.1);
        let moved = old
            .and_then(|(start, _)| self.piece_at(start))
            .map(|(_, id)| id);
        let (Some((start, end)), Some(id), false) = (old, moved, keeps_old) else {
            // Of a mapping whose birth was not seen, or a second view of one that stays.
            if from.0 != to.0 {
                self.map(to.0, to.1, time, died);
            }
            return;
        };
        self.cut(start, end, id);
        let silent = CallTime {
            duration_ns: 0,
            ..time
        };
        self.clear(new_start, new_end, Reach::All, silent, died);
        self.pieces.insert(new_start, (new_end, id));
        if let Some(mapping) = self.mappings.get_mut(&id) {
            mapping.left += new_end - new_start;
            mapping.bytes = mapping.bytes.saturating_sub(end - start) + (new_end - new_start);
        }
    }

    /// A fault sample fell at `address`.
    pub fn fault(&mut self, address: u64, weight: u64) {
        if let Some((_, id)) = self.piece_at(address)
            && let Some(mapping) = self.mappings.get_mut(&id)
        {
            mapping.fault_weight += weight;
        }
    }

    fn give_birth(&mut self, start: u64, end: u64, time: CallTime) {
        let id = self.next;
        self.next += 1;
        self.pieces.insert(start, (end, id));
        let mapping = Mapping {
            born_bytes: end - start,
            bytes: end - start,
            left: end - start,
            born_ns: time.end_ns,
            birth_duration_ns: time.duration_ns,
            death_duration_ns: 0,
            fault_weight: 0,
        };
        self.mappings.insert(id, mapping);
    }

    fn piece_at(&self, address: u64) -> Option<(u64, MappingId)> {
        let (start, &(end, id)) = self.pieces.range(..=address).next_back()?;
        (address < end).then_some((*start, id))
    }

    /// Unmaps what lies in a range, pieces that reach out of it in part.
    fn clear(&mut self, start: u64, end: u64, reach: Reach, time: CallTime, died: &mut Vec<Cycle>) {
        let first = self.piece_at(start).map_or(start, |(piece, _)| piece);
        let hit: Vec<_> = self
            .pieces
            .range(first..end)
            .map(|(at, piece)| (*at, *piece))
            .collect();
        let mut charge = time.duration_ns;
        for (piece_start, (piece_end, id)) in hit {
            let young = match reach {
                Reach::All => false,
                Reach::OlderThan(limit) => self
                    .mappings
                    .get(&id)
                    .is_some_and(|mapping| mapping.born_ns > limit),
            };
            if young {
                continue;
            }
            let (from, to) = (piece_start.max(start), piece_end.min(end));
            self.cut(from, to, id);
            if let Some(mapping) = self.mappings.get_mut(&id) {
                // One call's time counts once, whatever number of mappings it unmakes.
                mapping.death_duration_ns += std::mem::take(&mut charge);
            }
            self.bury(id, time.end_ns, died);
        }
    }

    /// Takes a range that lies within one piece of mapping `id` out of it.
    fn cut(&mut self, start: u64, end: u64, id: MappingId) {
        let Some((piece, _)) = self.piece_at(start) else {
            return;
        };
        let Some((piece_end, _)) = self.pieces.remove(&piece) else {
            return;
        };
        let end = end.min(piece_end);
        if piece < start {
            self.pieces.insert(piece, (start, id));
        }
        if end < piece_end {
            self.pieces.insert(end, (piece_end, id));
        }
        if let Some(mapping) = self.mappings.get_mut(&id) {
            mapping.left = mapping.left.saturating_sub(end - start);
        }
    }

    /// A mapping of which nothing is left has come full cycle.
    fn bury(&mut self, id: MappingId, now_ns: u64, died: &mut Vec<Cycle>) {
        if self
            .mappings
            .get(&id)
            .is_none_or(|mapping| mapping.left > 0)
        {
            return;
        }
        if let Some(mapping) = self.mappings.remove(&id) {
            died.push(Cycle {
                born_bytes: mapping.born_bytes,
                bytes: mapping.bytes,
                lifetime_ns: now_ns.saturating_sub(mapping.born_ns),
                birth_duration_ns: mapping.birth_duration_ns,
                death_duration_ns: mapping.death_duration_ns,
                fault_weight: mapping.fault_weight,
            });
        }
    }
}

/// A range, rounded out to pages; nothing if it is empty or reaches beyond the address space.
fn pages(start: u64, length: u64) -> Option<(u64, u64)> {
    let end = start.checked_add(length)?.checked_next_multiple_of(PAGE)?;
    (length > 0).then_some((start / PAGE * PAGE, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(end_ns: u64, duration_ns: u64) -> CallTime {
        CallTime {
            end_ns,
            duration_ns,
        }
    }

    #[test]
    fn a_mapping_that_is_unmapped_is_a_cycle() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 2 * MIB, at(100, 10), &mut died);
        space.fault(0x10000 + 5, 31);
        space.fault(0x10000 + 2 * MIB, 31);
        space.unmap(0x10000, 2 * MIB, at(500, 20), &mut died);
        let cycle = Cycle {
            born_bytes: 2 * MIB,
            bytes: 2 * MIB,
            lifetime_ns: 400,
            birth_duration_ns: 10,
            death_duration_ns: 20,
            fault_weight: 31,
        };
        assert_eq!(died, [cycle]);
        assert!(space.is_empty());
    }

    #[test]
    fn a_mapping_dies_with_its_last_piece() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x3000, at(100, 1), &mut died);
        space.unmap(0x11000, 0x1000, at(200, 1), &mut died);
        space.unmap(0x10000, 0x1000, at(300, 1), &mut died);
        assert!(died.is_empty());
        space.unmap(0x12000, 0x1000, at(400, 1), &mut died);
        assert_eq!(died.len(), 1);
        assert_eq!(
            (
                died[0].bytes,
                died[0].lifetime_ns,
                died[0].death_duration_ns
            ),
            (0x3000, 300, 3)
        );
    }

    #[test]
    fn one_call_unmaps_many_and_its_time_counts_once() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x1000, at(100, 1), &mut died);
        space.map(0x11000, 0x1000, at(110, 1), &mut died);
        space.unmap(0, 0x20000, at(200, 7), &mut died);
        assert_eq!(
            died.iter()
                .map(|cycle| cycle.death_duration_ns)
                .sum::<u64>(),
            7
        );
        assert_eq!(died.len(), 2);
    }

    #[test]
    fn mapping_over_a_mapping_ends_it() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x2000, at(100, 1), &mut died);
        space.map(0x10000, 0x2000, at(200, 1), &mut died);
        assert_eq!(died.len(), 1);
        assert_eq!(space.len(), 1);
    }

    #[test]
    fn a_late_record_of_an_unmapping_spares_the_new_owner() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x1000, at(100, 1), &mut died);
        // The unmapping began at 200 and took effect at once, another thread got the addresses at
        // 250, and the unmapping's return was seen at 300 only.
        space.map(0x10000, 0x1000, at(250, 10), &mut died);
        space.unmap(0x10000, 0x1000, at(300, 100), &mut died);
        assert_eq!(died.len(), 1);
        assert_eq!(space.len(), 1);
    }

    #[test]
    fn a_moved_and_grown_mapping_stays_the_same() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x1000, at(100, 1), &mut died);
        space.remap(
            (0x10000, 0x1000),
            (0x90000, 0x4000),
            false,
            at(150, 1),
            &mut died,
        );
        space.unmap(0x10000, 0x1000, at(200, 1), &mut died);
        assert!(died.is_empty());
        space.unmap(0x90000, 0x4000, at(300, 1), &mut died);
        assert_eq!((died[0].bytes, died[0].lifetime_ns), (0x4000, 200));
    }

    #[test]
    fn shrinking_in_place_keeps_the_rest() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x4000, at(100, 1), &mut died);
        space.remap(
            (0x10000, 0x4000),
            (0x10000, 0x1000),
            false,
            at(150, 1),
            &mut died,
        );
        space.unmap(0x10000, 0x1000, at(300, 1), &mut died);
        assert_eq!((died[0].bytes, died.len()), (0x1000, 1));
    }

    #[test]
    fn hostile_ranges_do_nothing() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(u64::MAX - 10, 100, at(1, 1), &mut died);
        space.map(0x1000, 0, at(1, 1), &mut died);
        space.unmap(0, u64::MAX, at(1, 1), &mut died);
        assert!(space.is_empty() && died.is_empty());
    }
}
