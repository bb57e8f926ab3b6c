//! Births and deaths of the mappings of one address space.
//!
//! Records come in the order in which calls returned, not in the order in which they took effect:
//! between a thread's `munmap` taking effect and its record, another thread may have been given
//! the same addresses. Two rules undo that. A call can only change what had been handed out before
//! it began; and where the kernel places a new mapping freely, whatever was known to be there has
//! been displaced: it is gone or elsewhere, by a call whose record is yet to come.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// Mappings are made of pages.
const PAGE: u64 = 4096;

/// Displaced pieces that wait for their record. More than a few are there only where records
/// were lost, and then they wait in vain.
const MOST_DISPLACED: usize = 256;

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
    displaced: VecDeque<Displaced>,
    next: MappingId,
}

/// A piece whose addresses were handed out again before its own end was heard of.
#[derive(Clone, Copy, Debug)]
struct Displaced {
    start: u64,
    end: u64,
    id: MappingId,
    at_ns: u64,
}

/// Whether the caller or the kernel chose where a mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The caller (`MAP_FIXED`): what lay there ends with the call.
    Fixed,
    /// The kernel, which only hands out what is free.
    Free,
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
    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.mappings.len()
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
        placement: Placement,
        time: CallTime,
        died: &mut Vec<Cycle>,
    ) -> Option<u64> {
        let (start, end) = pages(start, length)?;
        self.make_room(start, end, placement, time, died);
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
        let moved = pages(from.0, from.1).filter(|_| !keeps_old);
        let owner = moved.and_then(|(start, _)| self.owner(start, time.begin_ns()));
        let (Some((start, end)), Some(id)) = (moved, owner) else {
            // Of a mapping whose birth was not seen, or a second view of one that stays.
            if from.0 != to.0 {
                self.map(to.0, to.1, Placement::Free, time, died);
            }
            return;
        };
        for (from, to, _) in self.parts(start, end).into_iter().filter(|part| part.2 == id) {
            self.remove(from.max(start), to.min(end), id);
        }
        self.make_room(new_start, new_end, Placement::Free, time, died);
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

    /// The mapping that a call which began at `begin_ns` found at `address`.
    fn owner(&self, address: u64, begin_ns: u64) -> Option<MappingId> {
        let here = self.piece_at(address).map(|(_, id)| id);
        let before = self.displaced.iter().filter(|piece| piece.covers(address));
        here.into_iter().chain(before.map(|piece| piece.id)).find(|id| self.is_older(*id, begin_ns))
    }

    fn is_older(&self, id: MappingId, than_ns: u64) -> bool {
        self.mappings.get(&id).is_some_and(|mapping| mapping.born_ns <= than_ns)
    }

    /// Empties a range for a new mapping.
    fn make_room(
        &mut self,
        start: u64,
        end: u64,
        placement: Placement,
        time: CallTime,
        died: &mut Vec<Cycle>,
    ) {
        if placement == Placement::Fixed {
            let unmapping = CallTime { duration_ns: 0, ..time };
            return self.clear(start, end, Reach::All, unmapping, died);
        }
        for (piece_start, piece_end, id) in self.overlapping(start, end) {
            let (from, to) = (piece_start.max(start), piece_end.min(end));
            self.cut(from, to);
            self.displaced.push_back(Displaced { start: from, end: to, id, at_ns: time.end_ns });
        }
        while self.displaced.len() > MOST_DISPLACED {
            if let Some(piece) = self.displaced.pop_front() {
                self.shrink(piece.id, piece.end - piece.start);
                self.bury(piece.id, piece.at_ns, died);
            }
        }
    }

    /// Pieces that reach into a range: start, end, whose.
    fn overlapping(&self, start: u64, end: u64) -> Vec<(u64, u64, MappingId)> {
        let first = self.piece_at(start).map_or(start, |(piece, _)| piece);
        let hit = self.pieces.range(first..end);
        hit.map(|(start, (end, id))| (*start, *end, *id)).collect()
    }

    /// Displaced pieces and those in place that reach into a range: start, end, whose.
    fn parts(&self, start: u64, end: u64) -> Vec<(u64, u64, MappingId)> {
        let displaced = self.displaced.iter();
        displaced
            .filter(|piece| piece.start < end && start < piece.end)
            .map(|piece| (piece.start, piece.end, piece.id))
            .chain(self.overlapping(start, end))
            .collect()
    }

    /// Unmaps what lies in a range, pieces that reach out of it in part.
    fn clear(&mut self, start: u64, end: u64, reach: Reach, time: CallTime, died: &mut Vec<Cycle>) {
        let mut charge = time.duration_ns;
        for (piece_start, piece_end, id) in self.parts(start, end) {
            let reached = match reach {
                Reach::All => true,
                Reach::OlderThan(limit) => self.is_older(id, limit),
            };
            if !reached {
                continue;
            }
            self.remove(piece_start.max(start), piece_end.min(end), id);
            if let Some(mapping) = self.mappings.get_mut(&id) {
                // One call's time counts once, whatever number of mappings it unmakes.
                mapping.death_duration_ns += std::mem::take(&mut charge);
            }
            self.bury(id, time.end_ns, died);
        }
    }

    /// Takes a range away from a mapping, wherever its piece is kept.
    fn remove(&mut self, start: u64, end: u64, id: MappingId) {
        if self.piece_at(start).is_some_and(|(_, owner)| owner == id) {
            self.cut(start, end);
        } else if let Some(at) =
            self.displaced.iter().position(|piece| piece.id == id && piece.covers(start))
            && let Some(piece) = self.displaced.remove(at)
        {
            let rest = [(piece.start, start), (end, piece.end)];
            for (start, end) in rest.into_iter().filter(|(start, end)| start < end) {
                self.displaced.push_back(Displaced { start, end, ..piece });
            }
        }
        self.shrink(id, end - start);
    }

    /// Takes a range out of the piece that it lies in.
    fn cut(&mut self, start: u64, end: u64) {
        let Some((piece, id)) = self.piece_at(start) else {
            return;
        };
        let Some((piece_end, _)) = self.pieces.remove(&piece) else {
            return;
        };
        if piece < start {
            self.pieces.insert(piece, (start, id));
        }
        if end < piece_end {
            self.pieces.insert(end, (piece_end, id));
        }
    }

    fn shrink(&mut self, id: MappingId, by: u64) {
        if let Some(mapping) = self.mappings.get_mut(&id) {
            mapping.left = mapping.left.saturating_sub(by);
        }
    }

    /// A mapping of which nothing is left has come full cycle.
    fn bury(&mut self, id: MappingId, now_ns: u64, died: &mut Vec<Cycle>) {
        if self.mappings.get(&id).is_none_or(|mapping| mapping.left > 0) {
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

impl Displaced {
    const fn covers(&self, address: u64) -> bool {
        self.start <= address && address < self.end
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
        CallTime { end_ns, duration_ns }
    }

    #[test]
    fn a_mapping_that_is_unmapped_is_a_cycle() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 2 * MIB, Placement::Free, at(100, 10), &mut died);
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
        assert_eq!(space.len(), 0);
    }

    #[test]
    fn a_mapping_dies_with_its_last_piece() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x3000, Placement::Free, at(100, 1), &mut died);
        space.unmap(0x11000, 0x1000, at(200, 1), &mut died);
        space.unmap(0x10000, 0x1000, at(300, 1), &mut died);
        assert!(died.is_empty());
        space.unmap(0x12000, 0x1000, at(400, 1), &mut died);
        assert_eq!(died.len(), 1);
        assert_eq!(
            (died[0].bytes, died[0].lifetime_ns, died[0].death_duration_ns),
            (0x3000, 300, 3)
        );
    }

    #[test]
    fn one_call_unmaps_many_and_its_time_counts_once() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x1000, Placement::Free, at(100, 1), &mut died);
        space.map(0x11000, 0x1000, Placement::Free, at(110, 1), &mut died);
        space.unmap(0, 0x20000, at(200, 7), &mut died);
        assert_eq!(died.iter().map(|cycle| cycle.death_duration_ns).sum::<u64>(), 7);
        assert_eq!(died.len(), 2);
    }

    #[test]
    fn mapping_over_a_mapping_ends_it() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x2000, Placement::Free, at(100, 1), &mut died);
        space.map(0x10000, 0x2000, Placement::Fixed, at(200, 1), &mut died);
        assert_eq!(died.len(), 1);
        assert_eq!(space.len(), 1);
    }

    #[test]
    fn a_late_record_of_an_unmapping_spares_the_new_owner() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x1000, Placement::Free, at(100, 1), &mut died);
        // The unmapping began at 200 and took effect at once, another thread got the addresses at
        // 250, and the unmapping's return was seen at 300 only.
        space.map(0x10000, 0x1000, Placement::Free, at(250, 10), &mut died);
        space.unmap(0x10000, 0x1000, at(300, 100), &mut died);
        assert_eq!(died.len(), 1);
        assert_eq!(space.len(), 1);
    }

    #[test]
    fn a_late_record_of_a_move_finds_its_mapping() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x1000, Placement::Free, at(100, 1), &mut died);
        // The move began at 200, and another thread was given the old addresses at 250.
        space.map(0x10000, 0x1000, Placement::Free, at(250, 10), &mut died);
        space.remap((0x10000, 0x1000), (0x90000, 0x2000), false, at(300, 100), &mut died);
        assert!(died.is_empty());
        space.unmap(0x90000, 0x2000, at(400, 1), &mut died);
        assert_eq!((died[0].bytes, died[0].lifetime_ns), (0x2000, 300));
        assert_eq!(space.len(), 1);
    }

    #[test]
    fn a_move_finds_a_mapping_that_was_displaced_in_part() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x2000, Placement::Free, at(100, 1), &mut died);
        space.map(0x11000, 0x1000, Placement::Free, at(250, 10), &mut died);
        space.remap((0x10000, 0x2000), (0x90000, 0x4000), false, at(300, 100), &mut died);
        space.unmap(0x90000, 0x4000, at(400, 1), &mut died);
        assert_eq!((died.len(), died[0].bytes, space.len()), (1, 0x4000, 1));
    }

    #[test]
    fn what_waits_for_a_lost_record_is_given_up() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        for call in 0..1000 {
            space.map(0x10000, 0x1000, Placement::Free, at(call, 0), &mut died);
        }
        assert_eq!(died.len(), 1000 - 1 - MOST_DISPLACED);
    }

    #[test]
    fn a_moved_and_grown_mapping_stays_the_same() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x1000, Placement::Free, at(100, 1), &mut died);
        space.remap((0x10000, 0x1000), (0x90000, 0x4000), false, at(150, 1), &mut died);
        space.unmap(0x10000, 0x1000, at(200, 1), &mut died);
        assert!(died.is_empty());
        space.unmap(0x90000, 0x4000, at(300, 1), &mut died);
        assert_eq!((died[0].bytes, died[0].lifetime_ns), (0x4000, 200));
    }

    #[test]
    fn shrinking_in_place_keeps_the_rest() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(0x10000, 0x4000, Placement::Free, at(100, 1), &mut died);
        space.remap((0x10000, 0x4000), (0x10000, 0x1000), false, at(150, 1), &mut died);
        space.unmap(0x10000, 0x1000, at(300, 1), &mut died);
        assert_eq!((died[0].bytes, died.len()), (0x1000, 1));
    }

    #[test]
    fn hostile_ranges_do_nothing() {
        let (mut space, mut died) = (AddressSpace::default(), Vec::new());
        space.map(u64::MAX - 10, 100, Placement::Free, at(1, 1), &mut died);
        space.map(0x1000, 0, Placement::Free, at(1, 1), &mut died);
        space.unmap(0, u64::MAX, at(1, 1), &mut died);
        assert_eq!((space.len(), died.len()), (0, 0));
    }
}
