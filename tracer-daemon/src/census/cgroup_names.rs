use std::{
    collections::{HashMap, VecDeque},
    fs,
    os::unix::fs::{DirEntryExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Control groups looked at in one walk, and names remembered.
const GROUP_LIMIT: usize = 1 << 16;

/// Control groups' paths by the number that `bpf_get_current_cgroup_id` reports: the inode number
/// in the unified hierarchy (equal on 64-bit kernels since 5.5).
#[derive(Debug)]
pub struct CgroupNames {
    top: PathBuf,
    walk_interval_ns: u64,
    last_walk_ns: Option<u64>,
    paths: HashMap<u64, String>,
}

impl CgroupNames {
    /// Names below `<root>/sys/fs/cgroup`. A number without a name makes it look again, but not
    /// within `walk_interval_ns` of the last time.
    #[must_use]
    pub fn new(root: &Path, walk_interval_ns: u64) -> Self {
        let cgroups = root.join("sys/fs/cgroup");
        let unified = cgroups.join("unified");
        // On a hybrid machine the top is a tmpfs with a mount point per hierarchy.
        let hybrid = !cgroups.join("cgroup.controllers").exists() && unified.is_dir();
        Self {
            top: if hybrid { unified } else { cgroups },
            walk_interval_ns,
            last_walk_ns: None,
            paths: HashMap::new(),
        }
    }

    /// The path below the hierarchy's top, `/` for the top itself. Groups that were seen once keep
    /// their names: their numbers are not used again.
    pub fn path(&mut self, id: u64, now_ns: u64) -> Option<&str> {
        if !self.paths.contains_key(&id) && self.may_walk(now_ns) {
            self.last_walk_ns = Some(now_ns);
            self.walk();
        }
        self.paths.get(&id).map(String::as_str)
    }

    /// The control group of a process that lives, as [`CgroupNames::path`] would have it: whoever ends in it
    /// before anybody looked is known by it, without another walk.
    pub fn learn(&mut self, path: &str) {
        // Of a process in another namespace it may lead out of the hierarchy.
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return;
        }
        if let Ok(group) = fs::metadata(self.top.join(path.trim_start_matches('/'))) {
            self.insert(group.ino(), path.to_owned());
        }
    }

    /// Whether a process is in the group of this path.
    pub(super) fn is_member(&self, path: &str, pid: u32) -> bool {
        let members = self.top.join(path.trim_start_matches('/')).join("cgroup.procs");
        let members = fs::read_to_string(members).unwrap_or_default();
        members.lines().any(|line| line.parse() == Ok(pid))
    }

    /// The path of the group that a process is in, wherever that is.
    pub(super) fn find_member(&mut self, pid: u32) -> Option<String> {
        // Beside it there may be hierarchies of single controllers, where each process is as well.
        if !self.top.join("cgroup.controllers").exists() {
            return None;
        }
        self.walk();
        self.paths.values().find(|path| self.is_member(path, pid)).cloned()
    }

    fn insert(&mut self, inode: u64, path: String) {
        if self.paths.len() >= GROUP_LIMIT {
            self.paths.clear();
        }
        self.paths.insert(inode, path);
    }

    fn may_walk(&self, now_ns: u64) -> bool {
        self.last_walk_ns.is_none_or(|last| now_ns.saturating_sub(last) >= self.walk_interval_ns)
    }

    fn walk(&mut self) {
        let Ok(top) = fs::metadata(&self.top) else {
            return;
        };
        self.insert(top.ino(), "/".to_owned());
        let mut pending = VecDeque::from([String::new()]);
        let mut seen = 1;
        while let Some(parent) = pending.pop_front() {
            let directory = self.top.join(parent.trim_start_matches('/'));
            for (inode, name) in subdirectories(&directory) {
                if seen == GROUP_LIMIT {
                    return;
                }
                seen += 1;
                let path = format!("{parent}/{name}");
                self.paths.insert(inode, path.clone());
                pending.push_back(path);
            }
        }
    }
}

/// Inode numbers and names; names that are not UTF-8 are left out with what is below them.
fn subdirectories(directory: &Path) -> impl Iterator<Item = (u64, String)> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| Some((entry.ino(), entry.file_name().into_string().ok()?)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn make(root: &Path, path: &str) -> u64 {
        let path = root.join("sys/fs/cgroup").join(path);
        fs::create_dir_all(&path).unwrap();
        fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn groups_are_found_by_inode() {
        let root = tempfile::tempdir().unwrap();
        let top = make(root.path(), "");
        let deep = make(root.path(), "a.slice/b.service");
        let mut names = CgroupNames::new(root.path(), 1000);
        assert_eq!(names.path(deep, 0), Some("/a.slice/b.service"));
        assert_eq!(names.path(top, 0), Some("/"));
    }

    #[test]
    fn a_miss_walks_once_per_interval_and_names_stay() {
        let root = tempfile::tempdir().unwrap();
        let old = make(root.path(), "old");
        let mut names = CgroupNames::new(root.path(), 1000);
        assert_eq!(names.path(old, 0), Some("/old"));
        let new = make(root.path(), "new");
        assert_eq!(names.path(new, 999), None);
        fs::remove_dir(root.path().join("sys/fs/cgroup/old")).unwrap();
        assert_eq!(names.path(new, 1000), Some("/new"));
        assert_eq!(names.path(old, 5000), Some("/old"));
    }

    #[test]
    fn what_a_living_process_is_in_needs_no_walk() {
        let root = tempfile::tempdir().unwrap();
        let top = make(root.path(), "");
        let mut names = CgroupNames::new(root.path(), 1000);
        assert_eq!(names.path(top, 0), Some("/"));
        let new = make(root.path(), "a.slice/new.service");
        assert_eq!(names.path(new, 1), None, "it has just walked");
        for hostile in ["a.slice/new.service", "/a.slice/../a.slice/new.service", "/gone", ""] {
            names.learn(hostile);
        }
        assert_eq!(names.path(new, 1), None);
        names.learn("/a.slice/new.service");
        assert_eq!(names.path(new, 1), Some("/a.slice/new.service"));
    }

    #[test]
    fn hybrid_machines_have_it_further_down() {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), "memory/x");
        let id = make(root.path(), "unified/x");
        assert_eq!(CgroupNames::new(root.path(), 0).path(id, 0), Some("/x"));
        fs::write(root.path().join("sys/fs/cgroup/cgroup.controllers"), "").unwrap();
        let mut unified = CgroupNames::new(root.path(), 0);
        assert_eq!(unified.path(id, 0), Some("/unified/x"));
    }

    #[test]
    fn without_control_groups_there_are_no_names() {
        assert_eq!(CgroupNames::new(Path::new("/nonexistent"), 0).path(1, 0), None);
    }
}
