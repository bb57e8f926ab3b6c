use super::{Kind, holes::KERNEL_HALF};
use crate::census::Area;

/// Cells in a row.
const CELLS: usize = 48;

/// Stretches of addresses at the most; between them lie the largest holes.
const STRETCHES: usize = 8;

/// Rows that a stretch with most of the areas gets.
const ROWS: f64 = 6.0;

/// A hole is left out of the picture if it is larger than this part of all that is mapped, and not
/// small by itself.
const HOLE_LEFT_OUT: u64 = 16;
const LEAST_LEFT_OUT: u64 = 16 << 20;

/// So few areas show in one row.
const AREAS_IN_ONE_ROW: u64 = 100;

/// An address space to look at: stretches of addresses, cut into cells of equal length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// From low to high addresses.
    pub rows: Vec<Row>,
}

/// A stretch of addresses, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// First address.
    pub start: u64,
    /// Address after the last one.
    pub end: u64,
    /// Areas that begin in it.
    pub areas: u64,
    /// Whether the row before ends where this one begins.
    pub continues: bool,
    /// Parts of equal length.
    pub cells: Vec<Cell>,
}

/// A small part of an address space.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cell {
    /// The share of its addresses that is mapped.
    pub mapped: f64,
    /// The kind that most of it has.
    pub kind: Option<Kind>,
}

impl Picture {
    pub(super) fn of(areas: &[Area], kinds: &[Kind]) -> Self {
        // `[vsyscall]` lies in the kernel's half.
        let own = areas.partition_point(|area| area.start < KERNEL_HALF);
        let areas = &areas[..own];
        let mut rows = Vec::new();
        for (first, last) in stretches(areas) {
            rows.extend(draw(&areas[first..last], &kinds[first..last], areas.len()));
        }
        Self { rows }
    }
}

/// The areas cut at the largest holes, as ranges of indices.
fn stretches(areas: &[Area]) -> Vec<(usize, usize)> {
    let mapped = areas.iter().map(Area::bytes).fold(0, u64::saturating_add);
    let gaps = areas.windows(2).zip(1..).map(|(pair, index)| (pair[1].start - pair[0].end, index));
    let least = (mapped / HOLE_LEFT_OUT).max(LEAST_LEFT_OUT);
    let mut largest: Vec<(u64, usize)> = gaps.filter(|&(bytes, _)| bytes > least).collect();
    largest.sort_unstable_by_key(|&(bytes, _)| std::cmp::Reverse(bytes));
    largest.truncate(STRETCHES - 1);
    let mut cuts: Vec<_> = largest.into_iter().map(|(_, index)| index).collect();
    cuts.sort_unstable();
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain(std::iter::once(areas.len()));
    starts.zip(ends).filter(|(first, last)| first < last).collect()
}

fn draw(areas: &[Area], kinds: &[Kind], all_areas: usize) -> Vec<Row> {
    let (Some(first), Some(last)) = (areas.first(), areas.last()) else {
        return Vec::new();
    };
    let count = areas.len() as u64;
    let wanted = (ROWS * count as f64 / all_areas.max(1) as f64).round() as usize;
    let rows = if count <= AREAS_IN_ONE_ROW { 1 } else { wanted.max(1) };
    let canvas = Canvas { start: first.start, end: last.end, cells: rows * CELLS };
    let mut mapped = vec![[0_u64; Kind::ALL.len()]; canvas.cells];
    let mut begins = vec![0_u64; rows];
    for (area, kind) in areas.iter().zip(kinds) {
        begins[canvas.cell_of(area.start) / CELLS] += 1;
        let (first, last) = (canvas.cell_of(area.start), canvas.cell_of(area.end - 1));
        for (index, sums) in mapped.iter_mut().enumerate().take(last + 1).skip(first) {
            let (from, to) = (canvas.edge(index), canvas.edge(index + 1));
            let inside = area.end.min(to).saturating_sub(area.start.max(from));
            sums[*kind as usize] += inside;
        }
    }
    let cells: Vec<_> =
        mapped.iter().enumerate().map(|(index, kinds)| canvas.cell(index, kinds)).collect();
    let rows = cells.chunks(CELLS).zip(begins).zip(0..);
    rows.map(|((cells, areas), row)| Row {
        start: canvas.edge(row * CELLS),
        end: canvas.edge((row + 1) * CELLS),
        areas,
        continues: row > 0,
        cells: cells.to_vec(),
    })
    .collect()
}

/// Addresses that are cut into cells.
struct Canvas {
    start: u64,
    end: u64,
    cells: usize,
}

impl Canvas {
    /// Where a cell begins. A stretch of few bytes has cells of none.
    fn edge(&self, index: usize) -> u64 {
        let length = u128::from(self.end - self.start);
        self.start + (length * index as u128 / self.cells as u128) as u64
    }

    fn cell_of(&self, address: u64) -> usize {
        let length = u128::from(self.end - self.start).max(1);
        let before = u128::from(address - self.start);
        ((before * self.cells as u128 / length) as usize).min(self.cells - 1)
    }

    fn cell(&self, index: usize, mapped: &[u64; Kind::ALL.len()]) -> Cell {
        let length = self.edge(index + 1) - self.edge(index);
        let sum: u64 = mapped.iter().sum();
        let most = Kind::ALL.into_iter().max_by_key(|kind| mapped[*kind as usize]);
        Cell {
            mapped: if length == 0 { 0.0 } else { (sum as f64 / length as f64).min(1.0) },
            kind: most.filter(|_| sum > 0),
        }
    }
}
