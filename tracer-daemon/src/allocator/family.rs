//! How an allocator is told from others by what its file exports and says of itself.

/// Whose allocator it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The GNU C library's.
    Glibc,
    /// musl's.
    Musl,
    /// jemalloc.
    Jemalloc,
    /// gperftools' or Google's tcmalloc.
    Tcmalloc,
    /// mimalloc.
    Mimalloc,
    /// The Go runtime's, next to which there may be a C library's.
    Go,
    /// Something defines `malloc` that is none of the above.
    Unknown,
}

/// A family, and a symbol that only its files define. A program can have a C library linked into it
/// next to an allocator, so that the C libraries come last.
const MARKS: [(Family, &str); 9] = [
    (Family::Jemalloc, "mallctl"),
    (Family::Jemalloc, "je_mallctl"),
    (Family::Jemalloc, "_rjem_mallctl"),
    (Family::Tcmalloc, "MallocExtension_GetStats"),
    (Family::Mimalloc, "mi_version"),
    (Family::Go, "runtime.mallocgc"),
    (Family::Glibc, "__libc_pvalloc"),
    // The dynamic and the static library.
    (Family::Musl, "__dls3"),
    (Family::Musl, "__simple_malloc"),
];

impl Family {
    /// What people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Musl => "musl",
            Self::Jemalloc => "jemalloc",
            Self::Tcmalloc => "tcmalloc",
            Self::Mimalloc => "mimalloc",
            Self::Go => "Go",
            Self::Unknown => "unknown allocator",
        }
    }

    /// The symbols that tell families apart.
    pub(super) fn marks() -> impl Iterator<Item = &'static str> {
        MARKS.iter().map(|(_, symbol)| *symbol)
    }

    /// The family of a file that defines the symbols for which `defines` holds.
    pub(super) fn of(defines: impl Fn(&str) -> bool) -> Self {
        MARKS
            .iter()
            .find(|(_, symbol)| defines(symbol))
            .map_or(Self::Unknown, |(family, _)| *family)
    }

    /// The version in the constants of a file, as each family writes it there.
    pub(super) fn version(self, constants: &[u8]) -> Option<String> {
        let mut texts =
            constants.split(|byte| *byte == 0).filter_map(|text| str::from_utf8(text).ok());
        texts.find_map(|text| match self {
            // csu/version.c
            Self::Glibc => {
                number(text.strip_prefix("GNU C Library")?.split_once("release version ")?.1)
            }
            // src/base/..., PACKAGE_STRING
            Self::Tcmalloc => number(text.strip_prefix("gperftools ")?),
            // VERSION: 5.3.0-0-g54eaed1d8b56...
            Self::Jemalloc => {
                let (release, rest) = text.split_once('-')?;
                let (_, commit) = rest.split_once("-g")?;
                let is_commit =
                    !commit.is_empty() && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
                (is_commit && number(release)? == release).then(|| release.to_owned())
            }
            // src/internal/version.c: nothing but the number.
            Self::Musl => {
                let mut parts = text.split('.');
                let is_number =
                    |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
                (parts.clone().count() == 3 && parts.all(is_number)).then(|| text.to_owned())
            }
            Self::Mimalloc | Self::Go | Self::Unknown => None,
        })
    }
}

/// The number with points at the beginning of a text.
fn number(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].trim_end_matches('.');
    number.starts_with(|c: char| c.is_ascii_digit()).then(|| number.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_its_version_in_its_own_way() {
        let constants = b"\x01\x02\x00127.0.0.1\0GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\nCopy\0\
            5.3.0-0-g54eaed1d8b56\0gperftools 2.10\x001.2.3\0";
        for (family, version) in [
            (Family::Glibc, Some("2.36")),
            (Family::Jemalloc, Some("5.3.0")),
            (Family::Tcmalloc, Some("2.10")),
            (Family::Musl, Some("1.2.3")),
            (Family::Unknown, None),
        ] {
            assert_eq!(family.version(constants).as_deref(), version, "{family:?}");
        }
        assert_eq!(Family::Musl.version(b"1..3\x001.2\0.1.2.\0\xff\0"), None);
    }

    #[test]
    fn an_allocator_outranks_the_c_library_that_is_linked_with_it() {
        let of = |symbols: &[&str]| Family::of(|name| symbols.contains(&name));
        assert_eq!(of(&["__libc_pvalloc", "mallctl"]), Family::Jemalloc);
        assert_eq!(of(&["__libc_pvalloc"]), Family::Glibc);
        assert_eq!(of(&["malloc"]), Family::Unknown);
    }
}
