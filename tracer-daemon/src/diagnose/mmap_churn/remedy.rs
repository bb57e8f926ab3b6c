use super::measure::Churn;
use crate::diagnose::allocator_settings::keep_pages;
use crate::diagnose::caller::Caller;
use crate::humanize::bytes;

const MIB: u64 = 1 << 20;

/// The largest block for which glibc raises its thresholds by itself (`DEFAULT_MMAP_THRESHOLD_MAX`
/// on 64-bit machines).
const GLIBC_ADJUSTS_UP_TO: u64 = 32 * MIB;

/// A mapping of glibc's is a block and its header, rounded up to pages.
const PAGE: u64 = 4096;

/// What to do, best first.
pub(super) fn remedies(churn: &Churn, caller: Caller, site: Option<&str>) -> Vec<String> {
    match caller {
        Caller::Glibc => [vec![reuse_block(churn, site)], glibc(churn)].concat(),
        Caller::Musl => vec![
            reuse_block(churn, site),
            "musl has no setting for it (it maps every block from 128 KiB up, and ignores \
             GLIBC_TUNABLES): link or preload another allocator"
                .to_owned(),
        ],
        Caller::Allocator(name) => vec![
            reuse_block(churn, site),
            format!("{} (GLIBC_TUNABLES changes nothing here)", keep_pages(name)),
        ],
        Caller::ThreadStack => vec![
            "keep the threads: a pool of them instead of one for each piece of work".to_owned(),
        ],
        Caller::Direct => direct(churn, site),
        Caller::Unknown => [
            vec![reuse_block(churn, site)],
            vec!["if glibc's malloc makes them:".to_owned()],
            glibc(churn),
            vec!["if the program calls mmap itself:".to_owned()],
            direct(churn, site),
        ]
        .concat(),
    }
}

fn reuse_block(churn: &Churn, site: Option<&str>) -> String {
    let size = churn.dominant_size.map_or("one size".to_owned(), bytes);
    let place = site.map_or(String::new(), |site| format!(" in {site}"));
    format!("reuse the buffer{place}: one of about {size} for each thread, or a pool of them")
}

fn glibc(churn: &Churn) -> Vec<String> {
    let threshold = trim_threshold(churn);
    let threads = match churn.threads {
        Some(_) => String::new(),
        None => "; the number of threads is unknown: multiply the value by it".to_owned(),
    };
    vec![
        "mallopt(M_MMAP_MAX, 0) together with mallopt(M_TRIM_THRESHOLD, -1) at the start of main; \
         one of the two alone can be worse than none"
            .to_owned(),
        format!(
            "without a rebuild, again both together: \
             GLIBC_TUNABLES=glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold={threshold} \
             (up to {} stay with the process{threads})",
            bytes(threshold)
        ),
        by_itself(churn),
    ]
}

/// Why glibc did not cure it by itself.
fn by_itself(churn: &Churn) -> String {
    let largest = churn.largest_size.unwrap_or(0);
    // The header may have cost a page more.
    if largest <= GLIBC_ADJUSTS_UP_TO + PAGE {
        "glibc keeps blocks of up to 32 MiB after the first free, unless somebody set \
         M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD or M_MMAP_MAX (mallopt, GLIBC_TUNABLES, \
         MALLOC_*_): if so, removing that setting is a cure, too"
            .to_owned()
    } else {
        "glibc never keeps blocks over 32 MiB by itself; the heaps of threads hold 64 MiB at the \
         most and go back whole, so with many threads reuse is the surer cure"
            .to_owned()
    }
}

/// Every thread may have one of the largest blocks free at the top, and as much again around it.
fn trim_threshold(churn: &Churn) -> u64 {
    let wanted = churn
        .largest_size
        .unwrap_or(0)
        .saturating_mul(2)
        .saturating_mul(churn.threads.unwrap_or(1));
    // glibc reads it as a signed number in places.
    let limit = i64::MAX as u64 / MIB * MIB;
    wanted.max(1).div_ceil(MIB).saturating_mul(MIB).min(limit)
}

fn direct(churn: &Churn, site: Option<&str>) -> Vec<String> {
    let size = churn.dominant_size.map_or("that size".to_owned(), bytes);
    let place = site.map_or(String::new(), |site| format!(" in {site}"));
    let pool = match churn.threads {
        Some(1) => format!("keep one mapping of {size}"),
        Some(threads) => {
            format!("keep a pool of {threads} mappings of {size}, one for each thread")
        }
        None => format!("keep a pool of mappings of {size}, one for each thread"),
    };
    vec![
        format!("reuse the mapping{place}: {pool}"),
        "or keep the address space and let the kernel take the pages when it needs them: \
         madvise(MADV_FREE) instead of munmap (private anonymous mappings only)"
            .to_owned(),
        "glibc's tunables change nothing here: the mappings are not malloc's".to_owned(),
    ]
}
