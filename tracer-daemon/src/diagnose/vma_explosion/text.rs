use super::{Situation, dominant_size};
use crate::aggregate::Snapshot;
use crate::census::address_space::{AddressSpace, Unmerged};
use crate::diagnose::area_index::AreaIndex;
use crate::humanize::{bytes, count, number, percent, rough_time, seconds, shortened};

/// Sizes and kinds that a line lists.
const LISTED: usize = 4;

/// The error number of a full address space.
const ENOMEM: u32 = 12;

/// Characters of a kernel's release in a sentence.
const RELEASE: usize = 40;

/// The finding in one line.
pub(super) fn summary(situation: &Situation<'_>, gain: bool) -> String {
    let share = percent(situation.space.share_of_limit().unwrap_or(0.0));
    let areas = count(situation.space.areas);
    let limit = count(situation.limit);
    match situation.seconds_left {
        Some(left) if gain => format!(
            "{areas} of {limit} areas ({share}), and growing: in {} mmap fails with ENOMEM",
            rough_time(left)
        ),
        _ if gain => {
            format!("{areas} of {limit} areas ({share}); at the limit mmap fails with ENOMEM")
        }
        _ => format!("no gain: {areas} areas are many, but {share} of the limit, and few come"),
    }
}

/// The measured numbers.
pub(super) fn evidence(situation: &Situation<'_>, snapshot: &Snapshot) -> Vec<String> {
    let space = situation.space;
    let mut lines = vec![
        format!(
            "{} areas at the end of the window; vm.max_map_count allows {}",
            count(space.areas),
            count(situation.limit)
        ),
        growth(space),
        format!("areas by size: {}", sizes(space)),
        format!("areas by kind: {}", kinds(space)),
        format!("neighbours kept apart by {}", obstacles(&space.unmerged)),
    ];
    lines.extend(failures(snapshot));
    let release = shortened(&snapshot.tracer.kernel, RELEASE);
    lines.push(format!("Linux {release} {}", AreaIndex::of(&release).look_up()));
    if !snapshot.syscalls.is_empty() {
        lines.push("the cost is that of all memory calls: an upper bound".to_owned());
    }
    lines
}

fn growth(space: &AddressSpace) -> String {
    let (Some(growth), Some(rate)) = (space.growth, space.areas_per_second()) else {
        return "growth unknown: no count from the beginning of the window".to_owned();
    };
    let before = count(growth.areas_before);
    let window = seconds(growth.seconds);
    if rate > 0.0 {
        format!("{before} areas {window} earlier: {} more each second", number(rate))
    } else {
        format!("{before} areas {window} earlier: no growth")
    }
}

fn sizes(space: &AddressSpace) -> String {
    let rows = space.sizes.iter().take(LISTED);
    list(rows.map(|row| format!("{} × {}", count(row.areas), bytes(row.bytes))))
}

fn kinds(space: &AddressSpace) -> String {
    let rows = space.kinds_by_areas().into_iter().take(LISTED);
    list(rows.map(|row| format!("{} {}", row.kind.name(), count(row.areas))))
}

fn obstacles(unmerged: &Unmerged) -> String {
    let rows = unmerged.by_frequency().into_iter().filter(|(_, pairs)| *pairs > 0);
    list(rows.map(|(reason, pairs)| format!("{reason} {}", count(pairs))))
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
}

/// `mmap`, `mremap`, `mprotect`, `munmap` and `brk` may all fail at the limit.
fn failures(snapshot: &Snapshot) -> Option<String> {
    let refused = snapshot.syscalls.values().filter_map(|call| call.errnos.get(&ENOMEM));
    let refused = refused.fold(0_u64, |sum, calls| sum.saturating_add(*calls));
    (refused > 0).then(|| format!("{} memory calls failed with ENOMEM", count(refused)))
}

/// Where the areas come from.
pub(super) fn cause(situation: &Situation<'_>) -> String {
    let space = situation.space;
    let kind = space.kinds_by_areas().first().map_or("of no kind", |row| row.kind.name());
    let size =
        dominant_size(space).map_or(String::new(), |size| format!(", mostly {}", bytes(size)));
    let apart = match space.unmerged.by_frequency()[0].0 {
        "gap" => "holes between them",
        "protection" => "different protection",
        "flags" => "different flags",
        "file" => "different files or places in them",
        _ => "marks that do not show (madvise, mlock, separate writes)",
    };
    let from = situation
        .site
        .map_or(String::new(), |site| format!("; most mmap calls of the window come from {site}"));
    format!("most areas are {kind}{size}; what mostly keeps them from merging: {apart}{from}")
}
