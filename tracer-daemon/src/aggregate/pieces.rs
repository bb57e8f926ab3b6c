//! Which addresses belong to whom, when calls are heard of later than they took effect.

use std::collections::{BTreeMap, VecDeque};

/// Identifies a mapping within its address space.
pub(super) type MappingId = u64;

/// Displaced pieces that wait for their record. More than a few are there only where records
/// were lost, and then they wait in vain.
pub(super) const MOST_DISPLACED: usize = 256;

/// Addresses that a mapping was given at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) id: MappingId,
    /// When the call that gave them returned.
    pub(super) since_ns: u64,
}

impl Piece {
    pub(super) const fn bytes(&self) -> u64 {
        self.end - self.start
    }

    const fn overlaps(&self, start: u64, end: u64) -> bool {
        self.start < end && start < self.end
    }

    fn clipped(self, start: u64, end: u64) -> Self {
        Self { start: self.start.max(start), end: self.end.min(end), ..self }
    }

    /// What is left of it before and behind a range.
    fn without(self, start: u64, end: u64) -> impl Iterator<Item = Self> {
        let before = Self { end: start, ..self };
        let behind = Self { start: end, ..self };
        [before, behind].into_iter().filter(|piece| piece.start < piece.end)
    }
}

/// The pieces of an address space.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces {
    /// By their start; these never overlap.
    placed: BTreeMap<u64, Piece>,
    /// Pieces whose addresses were handed out again before their own end was heard of, oldest
    /// first.
    displaced: VecDeque<Piece>,
}

impl Pieces {
    /// The piece that holds `address`.
    pub(super) fn at(&self, address: u64) -> Option<Piece> {
        let (_, piece) = self.placed.range(..=address).next_back()?;
        (address < piece.end).then_some(*piece)
    }

    /// Puts a piece where nothing is in place.
    pub(super) fn place(&mut self, piece: Piece) {
        self.placed.insert(piece.start, piece);
    }

    /// Sets aside what is in place in a range. Returns what has waited for too long.
    pub(super) fn displace(&mut self, start: u64, end: u64) -> Vec<Piece> {
        for piece in self.placed_in(start, end) {
            self.cut(piece);
            self.displaced.push_back(piece);
        }
        let too_many = self.displaced.len().saturating_sub(MOST_DISPLACED);
        self.displaced.drain(..too_many).collect()
    }

    /// What is in place in a range, and what was displaced from it, cut to the range.
    pub(super) fn all_in(&self, start: u64, end: u64) -> Vec<Piece> {
        let displaced = self.displaced.iter().filter(|piece| piece.overlaps(start, end));
        let displaced = displaced.map(|piece| piece.clipped(start, end));
        self.placed_in(start, end).into_iter().chain(displaced).collect()
    }

    /// What a call that began at `begin_ns` found in a range: of those that had been handed out by
    /// then, the newest at each address.
    pub(super) fn found_in(&self, start: u64, end: u64, begin_ns: u64) -> Vec<Piece> {
        let mut old = self.all_in(start, end);
        old.retain(|piece| piece.since_ns <= begin_ns);
        old.sort_by_key(|piece| std::cmp::Reverse(piece.since_ns));
        let mut found: Vec<Piece> = Vec::new();
        for piece in old {
            if !found.iter().any(|newer| newer.overlaps(piece.start, piece.end)) {
                found.push(piece);
            }
        }
        found
    }

    /// Takes out a piece, or a part of one, that one of the above returned.
    pub(super) fn take(&mut self, part: Piece) {
        if self.at(part.start).is_some_and(|piece| piece.id == part.id) {
            self.cut(part);
            return;
        }
        let holds = |piece: &Piece| piece.id == part.id && piece.overlaps(part.start, part.end);
        if let Some(at) = self.displaced.iter().position(holds)
            && let Some(whole) = self.displaced.remove(at)
        {
            self.displaced.extend(whole.without(part.start, part.end));
        }
    }

    fn placed_in(&self, start: u64, end: u64) -> Vec<Piece> {
        let first = self.at(start).map_or(start, |piece| piece.start);
        let hit = self.placed.range(first..end).map(|(_, piece)| *piece);
        hit.filter(|piece| piece.overlaps(start, end))
            .map(|piece| piece.clipped(start, end))
            .collect()
    }

    fn cut(&mut self, part: Piece) {
        let Some(whole) = self.at(part.start) else { return };
        self.placed.remove(&whole.start);
        for rest in whole.without(part.start, part.end) {
            self.place(rest);
        }
    }
}
