use crate::census::Area;

/// Why the kernel keeps two neighbours apart; the first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// There are addresses between them.
    Gap,
    /// One may be read, written or executed, the other may not.
    Protection,
    /// One is shared, the other private. Other flags do not show in `/proc/PID/maps`.
    Flags,
    /// Different files, a file and none, or places in a file that do not follow each other.
    File,
    /// Nothing that shows: another `anon_vma` (each was written to before they met), another
    /// flag (`madvise`, `mlock`, `MAP_NORESERVE`), another name, or an area that the kernel made
    /// for itself (mm/vma.c, `is_mergeable_vma` and `is_mergeable_anon_vma`).
    AnonVmaOrOther,
}

/// Why the neighbours `lower` and `upper` did not merge.
#[must_use]
pub fn obstacle(lower: &Area, upper: &Area) -> Obstacle {
    let access = |area: &Area| (area.readable, area.writable, area.executable);
    if lower.end != upper.start {
        Obstacle::Gap
    } else if access(lower) != access(upper) {
        Obstacle::Protection
    } else if lower.shared != upper.shared {
        Obstacle::Flags
    } else if !continues(lower, upper) {
        Obstacle::File
    } else {
        Obstacle::AnonVmaOrOther
    }
}

/// Whether `upper` shows the same file from where `lower` ends; so it does without files.
fn continues(lower: &Area, upper: &Area) -> bool {
    match (file(lower), file(upper)) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            one == other && lower.offset.checked_add(lower.bytes()) == Some(upper.offset)
        }
        _ => false,
    }
}

fn file(area: &Area) -> Option<((u32, u32), u64)> {
    (area.inode != 0 || area.device != (0, 0)).then_some((area.device, area.inode))
}
