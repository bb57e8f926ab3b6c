use super::{Situation, dominant_size};
use crate::census::address_space::{AddressSpace, Kind, Unmerged};
use crate::diagnose::{Severity, allocator_settings::glibc_thresholds, caller::Caller};
use crate::humanize::{bytes, count};

/// The highest value that `mallopt(M_MMAP_THRESHOLD)` takes: half of `HEAP_MAX_SIZE` (glibc,
/// malloc/malloc.c, `do_set_mmap_threshold`).
const HIGHEST_THRESHOLD: u64 = 32 << 20;

/// The kernel keeps `vm.max_map_count` in an `int`.
const HIGHEST_LIMIT: u64 = i32::MAX as u64;

/// An obstacle between fewer of the pairs is not worth a line.
const OBSTACLE_SHARE: f64 = 0.25;

/// What to do: against the failure first if it is near, else against the cause first.
pub(super) fn remedies(situation: &Situation<'_>, severity: Severity) -> Vec<String> {
    let mut lines = vec![of_kind(situation)];
    lines.extend(of_obstacles(situation.space));
    let place = if severity == Severity::High { 0 } else { lines.len() };
    lines.insert(place, stop_gap(situation.limit));
    lines
}

fn stop_gap(limit: u64) -> String {
    let doubled = limit.saturating_mul(2).checked_next_power_of_two().unwrap_or(HIGHEST_LIMIT);
    format!(
        "sysctl -w vm.max_map_count={} is a stop-gap, at once and without a restart",
        doubled.min(HIGHEST_LIMIT)
    )
}

fn of_kind(situation: &Situation<'_>) -> String {
    let space = situation.space;
    let rows = space.kinds_by_areas();
    let first = rows.first();
    let pairs = count(first.map_or(0, |row| row.areas) / 2);
    match first.map(|row| row.kind) {
        Some(Kind::Arena) => format!(
            "fewer arenas: GLIBC_TUNABLES=glibc.malloc.arena_max=2 (or MALLOC_ARENA_MAX=2); {pairs} \
             heaps of arenas take two areas each"
        ),
        Some(Kind::Stack) => format!(
            "fewer threads, in a pool: {pairs} stacks take two areas each with their guards"
        ),
        Some(Kind::File) => {
            "map whole files once instead of parts of them, or read what is small".to_owned()
        }
        Some(Kind::Heap | Kind::Anonymous | Kind::Special) | None => of_blocks(situation),
    }
}

fn of_blocks(situation: &Situation<'_>) -> String {
    let space = situation.space;
    let place = situation.site.map_or(String::new(), |site| format!(" in {site}"));
    match situation.caller {
        Caller::Glibc => {
            let threshold = threshold(space);
            format!(
                "let glibc serve the blocks from its heap, which is one area: {}",
                glibc_thresholds(threshold * 2, threshold)
            )
        }
        Caller::Allocator(name) => {
            format!("let {name} keep what it maps, in larger spans, by its own settings")
        }
        Caller::Musl => "link or preload an allocator that takes larger spans".to_owned(),
        Caller::ThreadStack => "keep the threads: a pool of them".to_owned(),
        Caller::Direct | Caller::Unknown => {
            let size = dominant_size(space)
                .map_or("the blocks".to_owned(), |size| format!("the blocks of {}", bytes(size)));
            let anonymous = space.kinds.iter().find(|row| row.kind == Kind::Anonymous);
            let all = bytes(anonymous.map_or(0, |row| row.bytes));
            format!(
                "cut {size} from one mapping{place}: reserve it once with mmap(PROT_READ | \
                 PROT_WRITE, MAP_NORESERVE), up to {all} as it stands, and reuse its parts (a pool)"
            )
        }
    }
}

/// Above the largest size that is frequent and that the heap may serve, with room for a chunk's
/// header.
fn threshold(space: &AddressSpace) -> u64 {
    let frequent = space.sizes.iter().filter(|row| row.areas as f64 >= 0.01 * space.areas as f64);
    let largest = frequent.map(|row| row.bytes).filter(|bytes| *bytes < HIGHEST_THRESHOLD).max();
    let wanted = largest.map_or(HIGHEST_THRESHOLD, u64::next_power_of_two);
    wanted.min(HIGHEST_THRESHOLD)
}

fn of_obstacles(space: &AddressSpace) -> Vec<String> {
    let Unmerged { gap, protection, anon_vma_or_other, .. } = space.unmerged;
    let pairs = space.areas.saturating_sub(1).max(1) as f64;
    let rows = [
        (
            protection,
            "protection changes in the middle of a mapping split it: put what needs the same \
             protection side by side; guards by madvise(MADV_GUARD_INSTALL), since Linux 6.13, \
             split nothing",
        ),
        (
            gap,
            "unmapping a part leaves the rest in pieces: unmap whole blocks, or give parts back \
             with madvise(MADV_DONTNEED), which keeps the area",
        ),
        (
            anon_vma_or_other,
            "madvise, mlock or names on parts of a mapping split it: apply them to the whole",
        ),
    ];
    let common = rows.into_iter().filter(|(count, _)| *count as f64 >= OBSTACLE_SHARE * pairs);
    common.map(|(_, line)| line.to_owned()).collect()
}
