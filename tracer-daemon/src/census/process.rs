use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
};

use super::{CensusError, ProcRoot};

/// Arguments can fill megabytes; what people read of them is the beginning.
const CMDLINE_LIMIT: u64 = 64 << 10;

pub(crate) const DELETED: &[u8] = b" (deleted)";

impl ProcRoot {
    /// The executable's path as the process sees it; `None` for kernel threads, ended processes
    /// and where it is not permitted. The kernel's mark ` (deleted)` is taken off: a program that
    /// was replaced while it runs keeps its name. (So does one whose name really ends in that.)
    #[must_use]
    pub fn exe(&self, pid: u32) -> Option<PathBuf> {
        let target = fs::read_link(self.file(pid, "exe")).ok()?;
        let bytes = target.as_os_str().as_bytes();
        let bytes = bytes.strip_suffix(DELETED).unwrap_or(bytes);
        Some(OsString::from_vec(bytes.to_vec()).into())
    }

    /// The first 64 KiB of the arguments; what is not UTF-8 is replaced. Empty for kernel threads,
    /// ended processes and where it is not permitted.
    #[must_use]
    pub fn cmdline(&self, pid: u32) -> Vec<String> {
        let bytes = self.read_at_most(pid, "cmdline", CMDLINE_LIMIT).unwrap_or_default();
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
        if bytes.is_empty() {
            return Vec::new();
        }
        bytes
            .split(|&byte| byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    }

    /// The control group's path below its hierarchy's top. Where systemd still keeps processes in
    /// a hierarchy of its own (cgroup v1 and hybrid machines), that one counts unless the unified
    /// one says more than `/`; without systemd, the memory controller's.
    ///
    /// # Errors
    /// If the process has ended or may not be looked at.
    pub fn try_cgroup(&self, pid: u32) -> Result<Option<String>, CensusError> {
        let content = self.read(pid, "cgroup")?;
        Ok(choose_cgroup(&String::from_utf8_lossy(&content)))
    }

    /// [`ProcRoot::try_cgroup`], with failures as `None`.
    #[must_use]
    pub fn cgroup(&self, pid: u32) -> Option<String> {
        self.try_cgroup(pid).ok().flatten()
    }
}

/// Lines are `NUMBER:CONTROLLERS:PATH`, controllers with commas between them.
fn choose_cgroup(content: &str) -> Option<String> {
    let path = |controller: &str| {
        content.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            parts.next()?;
            let fits = parts.next()?.split(',').any(|one| one == controller);
            let path = parts.next()?;
            fits.then(|| path.strip_suffix(" (deleted)").unwrap_or(path))
        })
    };
    let unified = path("");
    let says_more = |path: &&str| !matches!(*path, "" | "/");
    let of_systemd = path("name=systemd");
    unified
        .filter(says_more)
        .or_else(|| of_systemd.filter(says_more))
        // Without systemd a container's runtime has the controllers' hierarchies alone.
        .or_else(|| path("memory").filter(|_| of_systemd.is_none()).filter(says_more))
        .or(unified)
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{super::fake::FakeProc, *};

    #[test]
    fn a_replaced_executable_keeps_its_name() {
        let fake = FakeProc::new();
        fake.link("1/exe", "/usr/sbin/my daemon");
        fake.link("2/exe", "/usr/sbin/my daemon (deleted)");
        for pid in [1, 2] {
            assert_eq!(fake.root().exe(pid), Some("/usr/sbin/my daemon".into()));
        }
        assert_eq!(fake.root().exe(3), None);
    }

    #[test]
    fn arguments_are_split_at_nul() {
        let fake = FakeProc::new();
        fake.write("1/cmdline", b"cat\0\0a b\0\xff\0");
        fake.write("2/cmdline", b"");
        fake.write("3/cmdline", b"title without an end");
        assert_eq!(fake.root().cmdline(1), ["cat", "", "a b", "\u{fffd}"]);
        assert!(fake.root().cmdline(2).is_empty());
        assert_eq!(fake.root().cmdline(3), ["title without an end"]);
        assert!(fake.root().cmdline(4).is_empty());
    }

    #[test]
    fn the_control_group_that_says_most_counts() {
        for (content, expected) in [
            ("0::/system.slice/a.service\n", Some("/system.slice/a.service")),
            ("0::/a:b::c\n", Some("/a:b::c")),
            ("9:name=systemd:/x.service\n0::/\n", Some("/x.service")),
            ("9:name=systemd:/x.service\n0::/y\n", Some("/y")),
            ("9:name=systemd:/\n4:memory:/z\n0::/\n", Some("/")),
            ("4:cpu,memory:/docker/a\n1:name=openrc:/docker\n0::/\n", Some("/docker/a")),
            ("4:memory:/docker/a\n", Some("/docker/a")),
            ("4:memory:/\n0::/\n", Some("/")),
            ("1:name=systemd:/init.scope\n", Some("/init.scope")),
            ("0::/gone.service (deleted)\n", Some("/gone.service")),
            ("0::\n", None),
            ("no colons\n", None),
            ("", None),
        ] {
            assert_eq!(choose_cgroup(content).as_deref(), expected, "{content}");
        }
    }
}
