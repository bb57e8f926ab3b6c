//! Births and deaths of the mappings of one address space.
//!
//! Records come in the order in which calls returned, not in the order in which they took effect:
//! between a thread's `munmap` taking effect and its record, another thread may have been given
//! the same addresses. Two rules undo that. A call can only change what had been handed out before
//! it began; and where the kernel places a new mapping freely, whatever was known to be there has
//! been displaced: it is gone or elsewhere, by a call whose record is yet to come.

use std::collections::HashMap;

use super::pieces::{MappingId, Piece, Pieces};

/// Mappings are made of pages.
const PAGE: u64 = 4096;

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

/// A mapping in which a fault fell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Its number within the address space; none has that of another.
    pub id: MappingId,
    /// When the call that made it returned.
    pub born_ns: u64,
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
    pieces: Pieces,
    next: MappingId,
}

/// Whether the caller or the kernel chose where a mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The caller (`MAP_FIXED`): what lay there ends with the call.
    Fixed,
    /// The kernel, which only hands out what is free.
    Free,
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
        let found = self.pieces.found_in(start, end, time.begin_ns());
        self.unmap_pieces(&found, time, died);
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
        let found = moved.map_or_else(Vec::new, |(start, end)| {
            self.pieces.found_in(start, end, time.begin_ns())
        });
        let Some(id) = found.iter().min_by_key(|piece| piece.start).map(|piece| piece.id) else {
            // Of a mapping whose birth was not seen, or a second view of one that stays.
            if from.0 != to.0 {
                self.map(to.0, to.1, Placement::Free, time, died);
            }
            return;
        };
        let mut old_bytes = 0;
        for piece in found.into_iter().filter(|piece| piece.id == id) {
            old_bytes += piece.bytes();
            self.pieces.take(piece);
        }
        self.make_room(new_start, new_end, Placement::Free, time, died);
        let new = Piece { start: new_start, end: new_end, id, since_ns: time.end_ns };
        self.pieces.place(new);
        if let Some(mapping) = self.mappings.get_mut(&id) {
            mapping.left = mapping.left.saturating_sub(old_bytes) + new.bytes();
            mapping.bytes = mapping.bytes.saturating_sub(old_bytes) + new.bytes();
        }
    }

    /// A fault sample fell at `address`. Returns the mapping there, if its birth was seen.
    pub fn fault(&mut self, address: u64, weight: u64) -> Option<Touched> {
        let id = self.pieces.at(address)?.id;
        let mapping = self.mappings.get_mut(&id)?;
        mapping.fault_weight += weight;
        Some(Touched { id, born_ns: mapping.born_ns })
    }

    fn give_birth(&mut self, start: u64, end: u64, time: CallTime) {
        let id = self.next;
        self.next += 1;
        self.pieces.place(Piece { start, end, id, since_ns: time.end_ns });
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
            let all = self.pieces.all_in(start, end);
            return self.unmap_pieces(&all, unmapping, died);
        }
        for forgotten in self.pieces.displace(start, end) {
            self.shrink(forgotten);
            self.bury(forgotten.id, time.end_ns, died);
        }
    }

    fn unmap_pieces(&mut self, pieces: &[Piece], time: CallTime, died: &mut Vec<Cycle>) {
        let mut charge = time.duration_ns;
        for &piece in pieces {
            self.pieces.take(piece);
            self.shrink(piece);
            if let Some(mapping) = self.mappings.get_mut(&piece.id) {
                // One call's time counts once, whatever number of mappings it unmakes.
                mapping.death_duration_ns += std::mem::take(&mut charge);
            }
            self.bury(piece.id, time.end_ns, died);
        }
    }

    fn shrink(&mut self, lost: Piece) {
        if let Some(mapping) = self.mappings.get_mut(&lost.id) {
            mapping.left = mapping.left.saturating_sub(lost.bytes());
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

/// A range, rounded out to pages; nothing if it is empty or reaches beyond the address space.
fn pages(start: u64, length: u64) -> Option<(u64, u64)> {
    let end = start.checked_add(length)?.checked_next_multiple_of(PAGE)?;
    (length > 0).then_some((start / PAGE * PAGE, end))
}

#[cfg(test)]
mod tests;
