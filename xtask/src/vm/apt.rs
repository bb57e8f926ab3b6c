//! Packages of Debian suites other than the machine's, with apt state of the project's own.

use crate::sh;
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt, seeing one suite.
pub(crate) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Fetches the lists of `suite` from the mirror that the machine itself uses.
    pub(crate) fn open(suite: &str) -> Result<Self> {
        let apt = Self { folder: super::folder().join("apt").join(suite) };
        for folder in ["lists/partial", "cache/archives/partial", "state"] {
            let folder = apt.folder.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(apt.folder.join("status"), "")?;
        fs::write(apt.folder.join("apt.conf"), configuration(&apt.folder))?;
        apt.update(&mirror()?, suite)?;
        Ok(apt)
    }

    fn update(&self, mirror: &str, suite: &str) -> Result<()> {
        let sources = format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
        fs::write(self.folder.join("sources.list"), sources)?;
        sh::output(self.command("apt-get").args(["update", "-qq", "--error-on=any"])).map(drop)
    }

    /// The rest of the name of the package that `package` depends on and that starts so.
    pub(crate) fn dependency(&self, package: &str, prefix: &str) -> Result<String> {
        let listing = sh::output(self.command("apt-cache").args(["depends", package]))?;
        dependency(&listing, prefix).with_context(|| format!("{package} depends on no {prefix}*"))
    }

    /// Downloads a package's file.
    pub(crate) fn download(&self, package: &str) -> Result<PathBuf> {
        let folder = self.folder.join("cache");
        sh::output(
            self.command("apt-get").args(["download", "-qq", package]).current_dir(&folder),
        )?;
        let prefix = format!("{package}_");
        let file = fs::read_dir(&folder)?
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .with_context(|| format!("apt-get left no {prefix}*.deb in {}", folder.display()))?;
        Ok(file.path())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf"));
        command
    }
}

/// Keeps apt in `folder`, and the machine's sources and pins out of it.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{folder}/state";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
# Releases in the archive have all expired.
Acquire::Check-Valid-Until "false";
# The unprivileged user that apt changes to cannot write below target/.
APT::Sandbox::User "root";
"#
    )
}

/// The mirror that the machine itself uses for Debian.
pub(super) fn mirror() -> Result<String> {
    let lists = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
    let mut texts = lists.iter().filter_map(|list| fs::read_to_string(Path::new(list)).ok());
    texts
        .find_map(|text| debian_uri(&text))
        .context("the machine's own sources lists name no Debian mirror to fetch kernels from")
}

/// The first URI of a sources list, in either format, whose path says that it is Debian's.
fn debian_uri(sources: &str) -> Option<String> {
    let lines =
        sources.lines().filter(|line| line.starts_with("URIs:") || line.starts_with("deb "));
    lines
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.starts_with("http") && word.ends_with("/debian"))
        .map(str::to_owned)
}

fn dependency(listing: &str, prefix: &str) -> Option<String> {
    let mut names = listing.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.find_map(|name| name.strip_prefix(prefix)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{debian_uri, dependency};

    #[test]
    fn the_mirror_is_found_in_both_formats() {
        let stanza =
            "Types: deb\n# http://old.example/archive/debian/1\nURIs: http://m.example/debian\n";
        assert_eq!(debian_uri(stanza).as_deref(), Some("http://m.example/debian"));
        let line = "deb https://dl.example/linux stable main\ndeb [arch=amd64] http://m.example/debian/ sid main\n";
        assert_eq!(debian_uri(line).as_deref(), Some("http://m.example/debian"));
        assert_eq!(debian_uri("URIs: http://m.example/debian-security\n"), None);
    }

    #[test]
    fn the_kernel_is_what_the_metapackage_depends_on() {
        let listing = "linux-image-cloud-amd64\n  Depends: linux-base-cloud-amd64\n  Depends: linux-image-7.2.13+deb14-cloud-amd64\n";
        assert_eq!(
            dependency(listing, "linux-image-").as_deref(),
            Some("7.2.13+deb14-cloud-amd64")
        );
        assert_eq!(dependency(listing, "linux-binary-"), None);
    }
}
