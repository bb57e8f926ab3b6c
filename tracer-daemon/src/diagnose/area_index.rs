//! What the kernel keeps a process's areas in: it decides what many of them cost.

/// How a kernel finds areas and holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AreaIndex {
    /// Until 3.9: areas in a red-black tree; a search for room goes from hole to hole.
    Linear,
    /// Until 6.0: a red-black tree in which every node knows the largest hole below it
    /// (mm/mmap.c, `unmapped_area_topdown`).
    AugmentedTree,
    /// From 6.1 on: a maple tree with the largest hole of each node (lib/maple_tree.c,
    /// `mas_empty_area_rev`).
    MapleTree,
    /// The release is not one of Linux's.
    Unknown,
}

impl AreaIndex {
    /// Of a kernel's release, such as `6.12.1-cloud-amd64`.
    pub(super) fn of(release: &str) -> Self {
        let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
        let mut number = || numbers.next().and_then(|digits| digits.parse::<u32>().ok());
        match number().zip(number()) {
            None => Self::Unknown,
            Some(version) if version < (3, 10) => Self::Linear,
            Some(version) if version < (6, 1) => Self::AugmentedTree,
            Some(_) => Self::MapleTree,
        }
    }

    /// Whether the search for room passes the holes one by one.
    pub(super) const fn walks_holes(self) -> bool {
        matches!(self, Self::Linear)
    }

    /// What it means for a search, as the end of a sentence about the kernel.
    pub(super) const fn search(self) -> &'static str {
        match self {
            Self::Linear => "walks from hole to hole",
            Self::AugmentedTree => {
                "walks no holes: it goes down a tree whose nodes know the largest hole below them"
            }
            Self::MapleTree => {
                "walks no holes: it goes down a maple tree whose nodes know their largest hole"
            }
            Self::Unknown => "is not known, all since 3.10 go down a tree instead of walking holes",
        }
    }

    /// What it means for a look-up, as the end of a sentence about the kernel.
    pub(super) const fn look_up(self) -> &'static str {
        match self {
            Self::Linear | Self::AugmentedTree => {
                "keeps areas in a red-black tree: a look-up takes longer with the logarithm of \
                 their number"
            }
            Self::MapleTree => {
                "keeps areas in a maple tree: a look-up takes longer with the logarithm of their \
                 number"
            }
            Self::Unknown => "is not known, all keep areas in a tree",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_their_index() {
        for (release, index) in [
            ("2.6.32-754.el6", AreaIndex::Linear),
            ("3.9.11", AreaIndex::Linear),
            ("3.10.0-1160.el7.x86_64", AreaIndex::AugmentedTree),
            ("5.10.0-28-cloud-amd64", AreaIndex::AugmentedTree),
            ("6.0", AreaIndex::AugmentedTree),
            ("6.1.0-18-amd64", AreaIndex::MapleTree),
            ("7.2", AreaIndex::MapleTree),
            ("", AreaIndex::Unknown),
            ("six", AreaIndex::Unknown),
            ("6", AreaIndex::Unknown),
            ("99999999999.1", AreaIndex::Unknown),
        ] {
            assert_eq!(AreaIndex::of(release), index, "{release}");
        }
    }
}
