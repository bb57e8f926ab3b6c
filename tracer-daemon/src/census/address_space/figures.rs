use serde::{Deserialize, Serialize};

use super::{Kind, Obstacle, Picture, obstacle};
use crate::census::Area;

/// An address space in numbers, as `vmas --format json` and a recording have it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AddressSpace {
    /// How many areas there are: lines of `/proc/PID/maps`.
    pub areas: u64,
    /// How many there may be, `vm.max_map_count`; beyond it `mmap` fails with `ENOMEM`.
    pub limit: Option<u64>,
    /// A row for each kind, those without areas too.
    pub kinds: Vec<KindFigures>,
    /// Every size, most frequent first.
    pub sizes: Vec<SizeAreas>,
    /// Why neighbours did not merge.
    pub unmerged: Unmerged,
    /// What lies between the areas.
    pub holes: HoleFigures,
    /// What a search for room has to pass.
    pub requests: Vec<RequestFigures>,
    /// How long the reading took.
    pub read_seconds: f64,
    /// What it looks like.
    #[serde(skip)]
    pub picture: Picture,
    /// How the number of areas changed within the window; `None` where it is not known.
    #[serde(skip)]
    pub growth: Option<Growth>,
    /// Areas left out because the process changed while it was read.
    #[serde(skip)]
    pub torn: u64,
    /// Lines that could not be understood.
    #[serde(skip)]
    pub unreadable: u64,
}

/// The areas of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindFigures {
    /// The kind.
    pub kind: Kind,
    /// How many.
    pub areas: u64,
    /// Their addresses, whether there is memory behind them or not.
    pub bytes: u64,
}

/// The areas of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeAreas {
    /// The size.
    pub bytes: u64,
    /// How many.
    pub areas: u64,
}

/// The holes of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeHoles {
    /// The size.
    pub bytes: u64,
    /// How many.
    pub holes: u64,
}

/// Pairs of neighbours by what kept them apart, see [`Obstacle`]. Every two areas that follow each
/// other in address order are a pair, so the sum is one less than the areas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unmerged {
    /// [`Obstacle::Gap`].
    pub gap: u64,
    /// [`Obstacle::Protection`].
    pub protection: u64,
    /// [`Obstacle::Flags`].
    pub flags: u64,
    /// [`Obstacle::File`].
    pub file: u64,
    /// [`Obstacle::AnonVmaOrOther`].
    pub anon_vma_or_other: u64,
}

impl Unmerged {
    pub(super) fn of(areas: &[Area]) -> Self {
        let mut pairs = Self::default();
        for pair in areas.windows(2) {
            let [lower, upper] = pair else { continue };
            let reason = match obstacle(lower, upper) {
                Obstacle::Gap => &mut pairs.gap,
                Obstacle::Protection => &mut pairs.protection,
                Obstacle::Flags => &mut pairs.flags,
                Obstacle::File => &mut pairs.file,
                Obstacle::AnonVmaOrOther => &mut pairs.anon_vma_or_other,
            };
            *reason += 1;
        }
        pairs
    }

    /// The reasons by their names and with their numbers, most frequent first.
    #[must_use]
    pub fn by_frequency(&self) -> [(&'static str, u64); 5] {
        let mut reasons = [
            ("gap", self.gap),
            ("protection", self.protection),
            ("flags", self.flags),
            ("file", self.file),
            ("anon_vma_or_other", self.anon_vma_or_other),
        ];
        reasons.sort_by_key(|&(_, pairs)| std::cmp::Reverse(pairs));
        reasons
    }
}

/// Holes that the kernel's search can find, see [`super::holes`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HoleFigures {
    /// How many.
    pub count: u64,
    /// Their addresses.
    pub bytes: u64,
    /// The largest; 0: none.
    pub largest: u64,
    /// Every size, most frequent first.
    pub sizes: Vec<SizeHoles>,
}

/// What the search for a mapping of one size has to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFigures {
    /// The size that is asked for; the kernel rounds it up to pages.
    pub bytes: u64,
    /// Holes that are too small, from the top down, before the first that fits. All holes: none
    /// fits.
    pub holes_too_small: u64,
}

/// Less growth than this, in areas and as a share of them, is the coming and going of every
/// program.
const GROWTH: u64 = 50;
const GROWTH_SHARE: f64 = 0.002;

/// A change of the number of areas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// How many there were at the beginning.
    pub areas_before: u64,
    /// The time between the two readings.
    pub seconds: f64,
}

impl AddressSpace {
    /// The share of the areas that there may be.
    #[must_use]
    pub fn share_of_limit(&self) -> Option<f64> {
        self.limit.filter(|limit| *limit > 0).map(|limit| self.areas as f64 / limit as f64)
    }

    /// Areas that came in each second of the window; negative: they became fewer.
    #[must_use]
    pub fn areas_per_second(&self) -> Option<f64> {
        let growth = self.growth.filter(|growth| growth.seconds > 0.0)?;
        Some((self.areas as f64 - growth.areas_before as f64) / growth.seconds)
    }

    /// Seconds until there are as many areas as there may be, if they go on to grow like this;
    /// `None`: their growth is unknown, or no more than coming and going.
    #[must_use]
    pub fn seconds_to_limit(&self) -> Option<f64> {
        let grown = self.areas.saturating_sub(self.growth?.areas_before);
        if grown < GROWTH || (grown as f64) < GROWTH_SHARE * self.areas as f64 {
            return None;
        }
        let left = self.limit?.saturating_sub(self.areas) as f64 / self.areas_per_second()?;
        Some(left).filter(|left| left.is_finite())
    }

    /// The kinds that have areas, most areas first.
    #[must_use]
    pub fn kinds_by_areas(&self) -> Vec<KindFigures> {
        let mut kinds: Vec<_> = self.kinds.iter().filter(|row| row.areas > 0).copied().collect();
        kinds.sort_by_key(|row| std::cmp::Reverse(row.areas));
        kinds
    }
}
