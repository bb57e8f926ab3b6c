//! The kernels that are tested, and fetching them.

use super::apt::Apt;
use crate::sh;
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::{
    ffi::OsStr,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A kernel, named by its version, that a Debian suite has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Kernel {
    /// bullseye's: no attach cookies
    #[value(name = "5.10")]
    V5_10,
    /// bookworm's: before per-VMA locks
    #[value(name = "6.1")]
    V6_1,
    /// trixie's
    #[value(name = "6.12")]
    V6_12,
    /// The newest that Debian has
    #[value(name = "sid")]
    Sid,
}

impl Kernel {
    /// `asked`, or every kernel when none was asked for.
    pub(crate) fn or_all(asked: &[Self]) -> Vec<Self> {
        if asked.is_empty() { Self::value_variants().to_vec() } else { asked.to_vec() }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::V5_10 => "bullseye",
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
            Self::Sid => "sid",
        }
    }

    /// The kernel's image, from the cache or from Debian. Delete `target/vm/kernels` to get newer ones.
    pub(crate) fn fetch(self) -> Result<PathBuf> {
        let cache = super::folder().join("kernels").join(self.suite());
        if let Some(cached) = find_image(&cache) {
            return Ok(cached);
        }
        self.download(&cache)
            .with_context(|| format!("cannot have Linux {self} from Debian's {}", self.suite()))
    }

    fn download(self, cache: &Path) -> Result<PathBuf> {
        let unpacked = super::folder().join("run").join(format!("kernel-{self}"));
        let release = unpack(&Apt::open(self.suite())?, &unpacked)?;
        let image = image(&unpacked, &release)?;
        fs::create_dir_all(cache)?;
        let partial = cache.join("partial");
        let cached = cache.join(format!("vmlinuz-{release}"));
        fs::copy(image, &partial)?;
        fs::rename(partial, &cached)?;
        fs::remove_dir_all(unpacked)?;
        Ok(cached)
    }
}

/// Downloads the newest kernel for clouds and unpacks it to a folder; its release.
pub(super) fn unpack(apt: &Apt, to: &Path) -> Result<String> {
    let release = apt.dependency("linux-image-cloud-amd64", "linux-image-")?;
    // Since 6.17 the image is in a package of its own, on which linux-image-* depends.
    let package = apt
        .download(&format!("linux-binary-{release}"))
        .or_else(|_| apt.download(&format!("linux-image-{release}")))?;
    sh::run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(to))?;
    fs::remove_file(package)?;
    Ok(release)
}

/// The image of a kernel that is unpacked there.
pub(super) fn image(unpacked: &Path, release: &str) -> Result<PathBuf> {
    let folders = ["boot".into(), format!("usr/lib/modules/{release}")];
    let image = folders.iter().find_map(|folder| find_image(&unpacked.join(folder)));
    image.with_context(|| format!("{} holds no vmlinuz", unpacked.display()))
}

/// Its modules.
pub(super) fn modules(unpacked: &Path, release: &str) -> PathBuf {
    let folders = ["usr/lib/modules", "lib/modules"].map(|folder| unpacked.join(folder));
    let [usr, lib] = folders.map(|folder| folder.join(release));
    if usr.is_dir() { usr } else { lib }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

fn find_image(folder: &Path) -> Option<PathBuf> {
    let is_image = |name: &OsStr| name.to_string_lossy().starts_with("vmlinuz");
    let mut entries = fs::read_dir(folder).ok()?.flatten();
    entries.find(|entry| is_image(&entry.file_name())).map(|entry| entry.path())
}
