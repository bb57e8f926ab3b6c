//! What an address space looks like: pure functions of the areas that one reading gave.

mod figures;
mod holes;
mod kinds;
mod obstacles;
mod picture;
mod sizes;

#[cfg(test)]
mod tests;

pub use figures::{
    AddressSpace, Growth, HoleFigures, KindFigures, RequestFigures, SizeAreas, SizeHoles, Unmerged,
};
pub use holes::{Floor, Hole, KERNEL_HALF, holes};
pub use kinds::{Kind, kinds};
pub use obstacles::{Obstacle, obstacle};
pub use picture::{Cell, Picture, Row};

use self::{holes::first_fits, sizes::tally};
use super::AreaReading;

/// The census of a reading. `requests` are sizes in bytes, for each of which it is told how many
/// holes are too small before the first that fits.
#[must_use]
pub fn census(reading: &AreaReading, requests: &[u64]) -> AddressSpace {
    let areas = &reading.areas;
    let kinds = kinds(areas);
    let holes = holes(areas, reading.lowest);
    let sizes = tally(areas.iter().map(super::Area::bytes));
    let hole_sizes = tally(holes.iter().map(Hole::bytes));
    AddressSpace {
        areas: areas.len() as u64,
        limit: reading.limit,
        kinds: Kind::ALL
            .into_iter()
            .map(|kind| {
                let of_kind = areas.iter().zip(&kinds).filter(|(_, one)| **one == kind);
                let sum = |(areas, bytes): (u64, u64), area: &super::Area| {
                    (areas + 1, bytes.saturating_add(area.bytes()))
                };
                let (areas, bytes) = of_kind.map(|(area, _)| area).fold((0, 0), sum);
                KindFigures { kind, areas, bytes }
            })
            .collect(),
        sizes: sizes.into_iter().map(|(bytes, areas)| SizeAreas { bytes, areas }).collect(),
        unmerged: Unmerged::of(areas),
        holes: HoleFigures {
            count: holes.len() as u64,
            bytes: holes.iter().map(Hole::bytes).fold(0, u64::saturating_add),
            largest: holes.iter().map(Hole::bytes).max().unwrap_or(0),
            sizes: hole_sizes
                .into_iter()
                .map(|(bytes, holes)| SizeHoles { bytes, holes })
                .collect(),
        },
        requests: first_fits(&holes, requests),
        read_seconds: reading.read_seconds,
        picture: Picture::of(areas, &kinds),
        growth: None,
        torn: reading.torn,
        unreadable: reading.unreadable,
    }
}
