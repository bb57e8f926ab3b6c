#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::census::{Area, Image, fake::FakeProc};

const MIB: u64 = 1 << 20;

/// Areas from lines as the kernel writes them.
fn areas(lines: &str) -> Vec<Area> {
    let fake = FakeProc::new();
    fake.write("1/maps", lines.as_bytes());
    fake.root().maps(1).unwrap()
}

fn anonymous(start: u64, bytes: u64) -> Area {
    Area { start, end: start + bytes, readable: true, writable: true, ..Area::default() }
}

fn reading(areas: Vec<Area>) -> AreaReading {
    AreaReading {
        areas,
        image: Image::default(),
        limit: Some(65_530),
        lowest: 65_536,
        read_seconds: 0.25,
        torn: 0,
        unreadable: 0,
    }
}

fn kinds_of(lines: &str) -> Vec<&'static str> {
    kinds(&areas(lines)).into_iter().map(Kind::name).collect()
}

#[test]
fn names_tell_kinds() {
    let lines = "\
        1000-2000 r-xp 0 fe:00 12 /bin/cat\n\
        2000-3000 rw-p 0 00:00 0 [heap]\n\
        3000-4000 rw-p 0 00:00 0 \n\
        4000-5000 rw-p 0 00:00 0 [anon:scudo]\n\
        5000-6000 rw-s 0 00:01 9 /dev/zero (deleted)\n\
        6000-7000 rw-p 0 00:0e 3 anon_inode:[perf_event]\n\
        7000-8000 r--p 0 00:00 0 [vvar]\n\
        8000-9000 rw-p 0 00:00 0 [anon: glibc: malloc arena]\n\
        9000-a000 rw-p 0 00:00 0 [anon: glibc: pthread stack: 12]\n\
        a000-b000 rw-p 0 00:00 0 [stack]\n\
        ffffffffff600000-ffffffffff601000 --xp 0 00:00 0 [vsyscall]\n";
    let expected = [
        "file",
        "heap",
        "anonymous",
        "anonymous",
        "file",
        "file",
        "special",
        "arena",
        "stack",
        "stack",
        "special",
    ];
    assert_eq!(kinds_of(lines), expected);
}

#[test]
fn arenas_and_stacks_are_told_by_their_shape() {
    for (lines, expected) in [
        // A heap of 132 KiB and its remainder, at a 64 MiB boundary.
        (
            "7f0004000000-7f0004021000 rw-p 0 00:00 0 \n\
             7f0004021000-7f0008000000 ---p 0 00:00 0 \n",
            ["arena", "arena"].as_slice(),
        ),
        // The remainder does not reach the boundary.
        (
            "7f0004000000-7f0004021000 rw-p 0 00:00 0 \n\
             7f0004021000-7f0007fff000 ---p 0 00:00 0 \n",
            &["anonymous", "anonymous"],
        ),
        // It does not begin at one.
        (
            "7f0004001000-7f0004021000 rw-p 0 00:00 0 \n\
             7f0004021000-7f0008001000 ---p 0 00:00 0 \n",
            &["anonymous", "anonymous"],
        ),
        // What lies above an arena's remainder is no stack.
        (
            "7f0004000000-7f0007ff8000 rw-p 0 00:00 0 \n\
             7f0007ff8000-7f0008000000 ---p 0 00:00 0 \n\
             7f0008000000-7f0008800000 rw-p 0 00:00 0 \n",
            &["arena", "arena", "anonymous"],
        ),
        // Two stacks of 8 MiB, one above the other, each with a guard.
        (
            "7f0000000000-7f0000001000 ---p 0 00:00 0 \n\
             7f0000001000-7f0000801000 rw-p 0 00:00 0 \n\
             7f0000801000-7f0000802000 ---p 0 00:00 0 \n\
             7f0000802000-7f0001002000 rw-p 0 00:00 0 \n",
            &["stack", "stack", "stack", "stack"],
        ),
        // Too large for a guard, too small for a stack, apart, shared.
        (
            "7f0000000000-7f0000020000 ---p 0 00:00 0 \n\
             7f0000020000-7f0000820000 rw-p 0 00:00 0 \n",
            &["anonymous", "anonymous"],
        ),
        (
            "7f0000000000-7f0000001000 ---p 0 00:00 0 \n\
             7f0000001000-7f0000002000 rw-p 0 00:00 0 \n",
            &["anonymous", "anonymous"],
        ),
        (
            "7f0000000000-7f0000001000 ---p 0 00:00 0 \n\
             7f0000002000-7f0000802000 rw-p 0 00:00 0 \n",
            &["anonymous", "anonymous"],
        ),
        (
            "7f0000000000-7f0000001000 ---p 0 00:00 0 \n\
             7f0000001000-7f0000801000 rw-s 0 00:00 0 \n",
            &["anonymous", "anonymous"],
        ),
    ] {
        assert_eq!(kinds_of(lines), expected, "{lines}");
    }
}

#[test]
fn neighbours_have_one_reason_each() {
    let lines = "\
        1000-2000 rw-p 00000000 00:00 0 \n\
        3000-4000 rw-p 00000000 00:00 0 \n\
        4000-5000 r--p 00000000 00:00 0 \n\
        5000-6000 r--s 00000000 00:00 0 \n\
        6000-7000 r--s 00000000 fe:00 1 /a\n\
        7000-8000 r--s 00001000 fe:00 1 /a\n\
        8000-9000 r--s 00009000 fe:00 1 /a\n\
        9000-a000 r--s 0000a000 fe:01 1 /b\n\
        a000-b000 r--s 00000000 00:00 0 \n\
        b000-c000 r--s 00000000 00:00 0 \n";
    let unmerged = Unmerged::of(&areas(lines));
    let expected = Unmerged { gap: 1, protection: 1, flags: 1, file: 4, anon_vma_or_other: 2 };
    assert_eq!(unmerged, expected);
    assert_eq!(unmerged.by_frequency()[0], ("file", 4));
}

fn hole_sizes(lines: &str) -> Vec<u64> {
    holes(&areas(lines), 65_536).iter().map(Hole::bytes).collect()
}

#[test]
fn holes_are_what_the_search_can_find() {
    // From the lowest address that may be mapped up to the highest end below the stack.
    let below = "\
        20000-30000 r-xp 0 fe:00 12 /bin/cat\n\
        40000-50000 rw-p 0 00:00 0 [heap]\n\
        7f0000000000-7f0000001000 rw-p 0 00:00 0 \n\
        7f0000001000-7f0000002000 r-xp 0 fe:00 13 /lib/ld.so\n";
    let expected = [0x10000, 0x10000, 0x7f00_0000_0000 - 0x50000];
    let stack = "7fff00000000-7fff00001000 rw-p 0 00:00 0 [stack]\n";
    let above = "7fff00004000-7fff00005000 r-xp 0 00:00 0 [vdso]\n\
        ffffffffff600000-ffffffffff601000 --xp 0 00:00 0 [vsyscall]\n";
    let vsyscall = "ffffffffff600000-ffffffffff601000 --xp 0 00:00 0 [vsyscall]\n";
    for tail in ["".to_owned(), stack.to_owned(), format!("{stack}{above}"), vsyscall.to_owned()] {
        assert_eq!(hole_sizes(&format!("{below}{tail}")), expected, "{tail}");
    }
    assert!(hole_sizes("").is_empty() && hole_sizes(stack).is_empty());
    assert_eq!(holes(&areas("1000-2000 rw-p 0 0:0 0 \n3000-4000 rw-p 0 0:0 0 \n"), 0).len(), 1);
}

#[test]
fn a_request_passes_holes_from_the_top_down() {
    // Holes from the top: 1, 3, 2, 3 and 8 pages.
    let mut list = Vec::new();
    let mut end = 0x7f00_0000_0000;
    for pages in [1, 3, 2, 3, 8] {
        list.push(anonymous(end - 4096, 4096));
        end -= 4096 * (1 + pages);
    }
    list.push(anonymous(end - 4096, 4096));
    list.reverse();
    // No hole below the lowest area.
    let holes = holes(&list, end - 4096);
    let figures = first_fits(&holes, &[0, 1, 4096, 4097, 8192, 12_288, 12_289, 32_768, 32_769]);
    let passed: Vec<_> = figures.iter().map(|figure| figure.holes_too_small).collect();
    assert_eq!(passed, [0, 0, 0, 1, 1, 1, 4, 4, 5]);
    assert_eq!(first_fits(&holes, &[u64::MAX])[0].holes_too_small, 5);
    assert_eq!(first_fits(&[], &[4096])[0].holes_too_small, 0);
}

/// The areas of the field report: neighbours that differ in protection, with a hole now and then.
fn field_report() -> Vec<Area> {
    let planted: [(usize, u64); 4] = [(2885, 516), (783, 1032), (589, 1548), (558, 132)];
    let mut sizes: Vec<u64> =
        planted.iter().flat_map(|&(count, kib)| vec![kib << 10; count]).collect();
    sizes.extend((0..9053 - sizes.len() as u64).map(|index| (index % 30 + 2) << 12));
    let mut start = 0x7f00_0000_0000;
    let mut list = Vec::new();
    for (index, bytes) in (0..).zip(sizes) {
        let area = Area { writable: index % 2 == 0, ..anonymous(start, bytes) };
        start = area.end + if index % 2 == 0 { 508 << 10 } else { 0 };
        list.push(area);
    }
    list
}

#[test]
fn the_field_report_comes_out_as_planted() {
    let space = census(&reading(field_report()), &[512 << 10, 508 << 10]);
    assert_eq!((space.areas, space.limit), (9053, Some(65_530)));
    let top: Vec<_> = space.sizes.iter().take(4).map(|row| (row.bytes >> 10, row.areas)).collect();
    assert_eq!(top, [(516, 2885), (1032, 783), (1548, 589), (132, 558)]);
    assert_eq!(space.sizes.iter().map(|row| row.areas).sum::<u64>(), 9053);
    let unmerged = Unmerged { gap: 4526, protection: 4526, ..Unmerged::default() };
    assert_eq!(space.unmerged, unmerged);
    // The planted ones, and all that is below.
    assert_eq!((space.holes.count, space.holes.sizes[0].holes), (4527, 4526));
    assert_eq!(space.holes.largest, 0x7f00_0000_0000 - 65_536);
    let passed: Vec<_> = space.requests.iter().map(|one| one.holes_too_small).collect();
    assert_eq!(passed, [4526, 0]);
    let bytes: u64 = space.kinds.iter().map(|row| row.bytes).sum();
    assert_eq!(bytes, field_report().iter().map(Area::bytes).sum::<u64>());
    assert_eq!(space.read_seconds, 0.25);
}

#[test]
fn sixty_five_thousand_areas_are_counted_one_by_one() {
    let list: Vec<_> = (0..65_000)
        .map(|index| anonymous((index + 100) * 2 * MIB, (index % 7 + 1) << 12))
        .collect();
    let space = census(&reading(list), &[MIB, 2 * MIB]);
    assert_eq!((space.areas, space.unmerged.gap), (65_000, 64_999));
    assert_eq!(space.sizes.len(), 7);
    assert_eq!(space.sizes.iter().map(|row| row.areas).sum::<u64>(), 65_000);
    assert_eq!(space.holes.count, 65_000);
    assert_eq!(space.requests[0].holes_too_small, 0);
    assert_eq!(space.requests[1].holes_too_small, 64_999, "only the one below all fits");
    let drawn: u64 = space.picture.rows.iter().map(|row| row.areas).sum();
    assert_eq!(drawn, 65_000);
}

#[test]
fn a_picture_has_rows_for_what_lies_apart() {
    let picture = census(
        &reading(vec![
            anonymous(0x5500_0000_0000, MIB),
            anonymous(0x5500_0000_0000 + 2 * MIB, MIB),
            anonymous(0x7f00_0000_0000, MIB),
        ]),
        &[],
    )
    .picture;
    assert_eq!(picture.rows.len(), 2);
    let low = &picture.rows[0];
    assert_eq!((low.start, low.end), (0x5500_0000_0000, 0x5500_0000_0000 + 3 * MIB));
    assert_eq!(low.areas, 2);
    let shares: Vec<_> = low.cells.iter().map(|cell| cell.mapped).collect();
    let expected: Vec<f64> = [1.0, 0.0, 1.0].iter().flat_map(|&share| vec![share; 16]).collect();
    assert_eq!(shares, expected);
    assert_eq!(low.cells[0].kind, Some(Kind::Anonymous));
    assert_eq!(low.cells[20].kind, None);
}

#[test]
fn the_ends_of_the_address_space_are_no_trouble() {
    let hostile = vec![
        anonymous(0, 1),
        anonymous(1, 4096),
        anonymous(u64::MAX - 8, 4),
        Area { offset: u64::MAX, inode: 1, ..anonymous(u64::MAX - 4, 4) },
    ];
    let space = census(&reading(hostile), &[0, 1, u64::MAX]);
    assert_eq!(space.areas, 4);
    let empty = census(&reading(Vec::new()), &[4096]);
    assert_eq!((empty.areas, empty.holes.count, empty.picture.rows.len()), (0, 0, 0));
}

#[test]
fn growth_has_a_time_to_the_limit() {
    let mut space = AddressSpace { areas: 64_530, limit: Some(65_530), ..AddressSpace::default() };
    assert_eq!(space.seconds_to_limit(), None);
    space.growth = Some(Growth { areas_before: 64_330, seconds: 10.0 });
    assert_eq!(space.areas_per_second(), Some(20.0));
    assert_eq!(space.seconds_to_limit(), Some(50.0));
    space.growth = Some(Growth { areas_before: 64_430, seconds: 10.0 });
    assert_eq!(space.seconds_to_limit(), None, "100 of 64,530 come and go");
    space.growth = Some(Growth { areas_before: 64_630, seconds: 10.0 });
    assert_eq!(space.seconds_to_limit(), None, "it shrinks");
    space.growth = Some(Growth { areas_before: 64_430, seconds: 0.0 });
    assert_eq!(space.areas_per_second(), None);
}

#[test]
fn the_json_is_that_of_the_contract() {
    let space = census(&reading(field_report()), &[512 << 10]);
    let json = serde_json::to_value(&space).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    let expected =
        ["areas", "holes", "kinds", "limit", "read_seconds", "requests", "sizes", "unmerged"];
    assert_eq!(keys, expected);
    assert_eq!(
        json["kinds"][3],
        serde_json::json!({"kind": "anonymous", "areas": 9053,
        "bytes": space.kinds[3].bytes})
    );
    assert_eq!(json["sizes"][0], serde_json::json!({"bytes": 528_384, "areas": 2885}));
    assert_eq!(json["unmerged"]["anon_vma_or_other"], 0);
    assert_eq!(json["holes"]["sizes"][0]["holes"], 4526);
    let request = serde_json::json!({"bytes": 524_288, "holes_too_small": 4526});
    assert_eq!(json["requests"][0], request);
}
