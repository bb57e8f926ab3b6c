//! Which mappings the look-ups were for.

use std::collections::BTreeMap;

use super::snapshot::LookupMapping;
use crate::census::{
    Area,
    address_space::{Kind, kinds},
};
use crate::humanize::bytes;

/// Mappings that a snapshot has of each function.
const SHOWN: usize = 8;

/// An address that lies in none of the areas: unmapped by then, or a gap.
pub const NO_AREA: &str = "no area at the end";

/// The areas with the most look-ups, by their names, as shares of all. `addresses` come with the
/// look-ups that each stands for; `areas` are in ascending order.
#[must_use]
pub fn mappings(addresses: &[(u64, f64)], areas: &[Area]) -> Vec<LookupMapping> {
    let mut rows: BTreeMap<String, LookupMapping> = BTreeMap::new();
    let names: Vec<_> =
        areas.iter().zip(kinds(areas)).map(|(area, kind)| name(area, kind)).collect();
    for name in &names {
        let fresh = || LookupMapping { name: name.clone(), ..LookupMapping::default() };
        rows.entry(name.clone()).or_insert_with(fresh).areas += 1;
    }
    let total: f64 = addresses.iter().map(|(_, weight)| weight).sum();
    for (address, weight) in addresses {
        let name = index(areas, *address).map_or(NO_AREA, |index| names[index].as_str());
        let fresh = || LookupMapping { name: name.to_owned(), ..LookupMapping::default() };
        rows.entry(name.to_owned()).or_insert_with(fresh).share += weight / total;
    }
    let mut rows: Vec<_> = rows.into_values().filter(|row| row.share > 0.0).collect();
    rows.sort_by(|a, b| b.share.total_cmp(&a.share));
    rows.truncate(SHOWN);
    rows
}

fn index(areas: &[Area], address: u64) -> Option<usize> {
    let index = areas.partition_point(|area| area.start <= address).checked_sub(1)?;
    (address < areas.get(index)?.end).then_some(index)
}

/// What people call it. Those of one purpose and size are one.
fn name(area: &Area, kind: Kind) -> String {
    let path = area.path.as_ref().map(|path| path.to_string_lossy());
    match (kind, path) {
        (Kind::File, Some(path)) => path.rsplit('/').next().unwrap_or(&path).to_owned(),
        (_, Some(path)) => path.into_owned(),
        (Kind::Arena, None) => "arena of malloc".to_owned(),
        (Kind::Stack, None) => "stack of a thread".to_owned(),
        (_, None) => format!("anon {}", bytes(area.bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(start: u64, end: u64, path: Option<&str>) -> Area {
        let inode = u64::from(path.is_some_and(|path| path.starts_with('/')));
        let path = path.map(Into::into);
        Area { start, end, path, inode, readable: true, writable: true, ..Area::default() }
    }

    #[test]
    fn areas_of_one_name_are_one_row() {
        let areas = [
            area(0x1000, 0x2000, Some("/bin/app")),
            area(0x2000, 0x3000, Some("/bin/app")),
            area(0x5000, 0x9000, Some("[heap]")),
            area(0x2_0000, 0x2_2000, None),
            area(0x3_0000, 0x3_2000, None),
            area(0x4_0000, 0x4_1000, None),
        ];
        let addresses =
            [(0x1fff, 8.0), (0x2_0000, 16.0), (0x3_1fff, 24.0), (0x3_2000, 4.0), (0x5000, 12.0)];
        let rows = mappings(&addresses, &areas);
        let rows: Vec<_> =
            rows.iter().map(|row| (row.name.as_str(), row.areas, row.share)).collect();
        let truth = [
            ("anon 8 KiB", 2, 0.625),
            ("[heap]", 1, 0.1875),
            ("app", 2, 0.125),
            (NO_AREA, 0, 0.0625),
        ];
        assert_eq!(rows, truth);
        assert_eq!(mappings(&[], &areas), []);
        assert_eq!(mappings(&[(7, 1.0)], &[])[0].name, NO_AREA);
    }
}
