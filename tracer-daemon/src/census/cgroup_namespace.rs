use super::CgroupNames;

/// Where a cgroup namespace begins in the hierarchy. Containers mostly have one of their own: what `/proc/PID/cgroup`
/// says there begins at the container's own group, and leads out of it by `..`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CgroupNamespace {
    /// Empty: at the hierarchy's top, or it is not known.
    start: String,
}

impl CgroupNamespace {
    /// That of a process which says that its group is `path`.
    #[must_use]
    pub fn of(pid: u32, path: &str, names: &mut CgroupNames) -> Self {
        if names.is_member(path, pid) {
            return Self::default();
        }
        let found = names.find_member(pid);
        let start =
            found.as_deref().and_then(|found| found.strip_suffix(path.trim_end_matches('/')));
        Self { start: start.unwrap_or_default().to_owned() }
    }

    /// The path from the hierarchy's top of what is called so inside. Without a start it stays as it is.
    #[must_use]
    pub fn from_top(&self, path: String) -> String {
        if self.start.is_empty() {
            return path;
        }
        let mut components: Vec<&str> = Vec::new();
        for component in self.start.split('/').chain(path.split('/')) {
            match component {
                "" => {}
                ".." => drop(components.pop()),
                name => components.push(name),
            }
        }
        format!("/{}", components.join("/"))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::{fs, path::Path};

    use super::*;

    fn make(root: &Path, group: &str, members: &str) {
        let directory = root.join("sys/fs/cgroup").join(group);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("cgroup.procs"), members).unwrap();
    }

    #[test]
    fn it_begins_where_its_process_is_found() {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), "", "1\n");
        fs::write(root.path().join("sys/fs/cgroup/cgroup.controllers"), "").unwrap();
        make(root.path(), "pods/a/b", "17\n7\n");
        make(root.path(), "pods/a/b/inner", "8\n");
        let of = |pid, path| {
            let names = &mut CgroupNames::new(root.path(), 0);
            CgroupNamespace::of(pid, path, names).start
        };
        assert_eq!(of(7, "/"), "/pods/a/b");
        assert_eq!(of(8, "/inner"), "/pods/a/b");
        for (pid, path) in [(7, "/pods/a/b"), (1, "/"), (8, "/other"), (9, "/")] {
            assert_eq!(of(pid, path), "", "{pid} {path}");
        }
    }

    #[test]
    fn paths_lead_out_of_it() {
        let inside = CgroupNamespace { start: "/pods/a/b".into() };
        for (path, from_top) in [
            ("/", "/pods/a/b"),
            ("/inner", "/pods/a/b/inner"),
            ("/../../c/d", "/pods/c/d"),
            ("/../../../system.slice/x.service", "/system.slice/x.service"),
            ("/../../..", "/"),
            ("/../../../../..", "/"),
        ] {
            assert_eq!(inside.from_top(path.to_owned()), from_top);
        }
        let top = CgroupNamespace::default();
        assert_eq!(top.from_top("/../x".to_owned()), "/../x");
    }
}
