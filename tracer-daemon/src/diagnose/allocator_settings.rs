//! Settings that make allocators keep what they would give back.

use crate::humanize::bytes;

const MIB: u64 = 1 << 20;

/// The largest value that every glibc takes (`HEAP_MAX_SIZE / 2` on 64-bit machines).
const LARGEST_MMAP_THRESHOLD: u64 = 32 * MIB;

/// What keeps so much at the top of glibc's heaps.
///
/// Both thresholds: setting one ends glibc's own adjustment of either, and the other would fall back
/// to 128 KiB. Where glibc adjusts them, it trims at twice what it maps.
pub(super) fn glibc_keeps(deepest_bytes: u64) -> Vec<String> {
    let trim = trim_threshold(deepest_bytes);
    let mmap = (trim / 2).min(LARGEST_MMAP_THRESHOLD);
    vec![
        format!(
            "mallopt(M_TRIM_THRESHOLD, {trim}) together with mallopt(M_MMAP_THRESHOLD, {mmap}) at \
             the start of main; without the second blocks from 128 KiB up are mapped one by one"
        ),
        format!(
            "without a rebuild, again both together: {} (up to {} stay with the process)",
            glibc_thresholds(trim, mmap),
            bytes(trim)
        ),
        format!(
            "M_TOP_PAD (glibc.malloc.top_pad) of {trim} in place of M_TRIM_THRESHOLD keeps as much, \
             and makes the heap grow in larger steps"
        ),
    ]
}

/// The same by the environment, as mallopt(3) has it: as `GLIBC_TUNABLES` they would not fit into a line.
pub(super) fn glibc_thresholds(trim: u64, mmap: u64) -> String {
    format!("MALLOC_TRIM_THRESHOLD_={trim} MALLOC_MMAP_THRESHOLD_={mmap}")
}

/// Twice what was free at the top at once: the load may grow, and a trim leaves `M_TOP_PAD` there.
fn trim_threshold(deepest_bytes: u64) -> u64 {
    // mallopt takes an int.
    let limit = i32::MAX as u64 / MIB * MIB;
    deepest_bytes.saturating_mul(2).max(1).div_ceil(MIB).saturating_mul(MIB).min(limit)
}

/// What makes an allocator of this name keep its pages.
pub(super) fn keep_pages(allocator: &str) -> &'static str {
    match allocator {
        "jemalloc" => {
            "let jemalloc keep its pages: MALLOC_CONF=retain:true,dirty_decay_ms:-1,muzzy_decay_ms:-1"
        }
        "mimalloc" => "let mimalloc keep its pages: MIMALLOC_PURGE_DELAY=-1",
        "tcmalloc" => "let gperftools' tcmalloc keep its pages: TCMALLOC_RELEASE_RATE=0",
        _ => "let the allocator keep its pages, by its own settings",
    }
}
