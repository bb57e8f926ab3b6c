//! Fills in the kernel programs' [`KernelLayout`].

use std::{fs, path::Path};

use tracer_common::KernelLayout;

use super::{Btf, field_offset, first_field_after};

/// What could be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The places; [`tracer_common::UNKNOWN_OFFSET`] where one was not found.
    pub layout: KernelLayout,
    /// A line for each thing that was not found, with the reason; for people.
    pub missing: Vec<String>,
}

type Slot = fn(&mut KernelLayout) -> &mut u32;

struct Member {
    structure: &'static str,
    name: &'static str,
    slot: Slot,
}

const fn member(structure: &'static str, name: &'static str, slot: Slot) -> Member {
    Member { structure, name, slot }
}

const MEMBERS: [Member; 20] = [
    member("task_struct", "tgid", |l| &mut l.task_tgid),
    member("task_struct", "pid", |l| &mut l.task_pid),
    member("task_struct", "group_leader", |l| &mut l.task_group_leader),
    member("task_struct", "start_boottime", |l| &mut l.task_start_boottime),
    member("task_struct", "signal", |l| &mut l.task_signal),
    member("task_struct", "min_flt", |l| &mut l.task_min_flt),
    member("task_struct", "maj_flt", |l| &mut l.task_maj_flt),
    member("task_struct", "utime", |l| &mut l.task_utime),
    member("task_struct", "stime", |l| &mut l.task_stime),
    member("task_struct", "thread_node", |l| &mut l.task_thread_node),
    member("task_struct", "comm", |l| &mut l.task_comm),
    member("task_struct", "mm", |l| &mut l.task_mm),
    member("task_struct", "stack", |l| &mut l.task_stack),
    member("mm_struct", "brk", |l| &mut l.mm_brk),
    member("mm_struct", "mmap_lock", |l| &mut l.mm_mmap_lock),
    member("signal_struct", "live", |l| &mut l.signal_live),
    member("signal_struct", "min_flt", |l| &mut l.signal_min_flt),
    member("signal_struct", "maj_flt", |l| &mut l.signal_maj_flt),
    member("signal_struct", "thread_head", |l| &mut l.signal_thread_head),
    member("signal_struct", "stats_lock", |l| &mut l.signal_stats_lock),
];

struct Field {
    tracepoint: &'static str,
    /// As reported when it is missing.
    what: &'static str,
    find: fn(&str) -> Option<u32>,
    slot: Slot,
}

const FIELDS: [Field; 5] = [
    Field {
        tracepoint: "syscalls/sys_enter_mmap",
        what: "a field after __syscall_nr",
        find: |format| first_field_after(format, "__syscall_nr"),
        slot: |l| &mut l.sys_enter_args,
    },
    Field {
        tracepoint: "syscalls/sys_exit_mmap",
        what: "the field ret",
        find: |format| field_offset(format, "ret"),
        slot: |l| &mut l.sys_exit_ret,
    },
    Field {
        tracepoint: "task/task_newtask",
        what: "the field pid",
        find: |format| field_offset(format, "pid"),
        slot: |l| &mut l.newtask_pid,
    },
    Field {
        tracepoint: "task/task_newtask",
        what: "the field clone_flags",
        find: |format| field_offset(format, "clone_flags"),
        slot: |l| &mut l.newtask_clone_flags,
    },
    Field {
        tracepoint: "sched/sched_process_exec",
        what: "the field old_pid",
        find: |format| field_offset(format, "old_pid"),
        slot: |l| &mut l.exec_old_pid,
    },
];

/// Finds out where the kernel below `root` (`/`, but in tests) keeps things.
#[must_use]
pub fn resolve(root: &Path) -> Resolved {
    let mut resolved = Resolved { layout: KernelLayout::UNKNOWN, missing: Vec::new() };
    match Btf::load(root) {
        Ok(btf) => resolve_members(&btf, &mut resolved),
        Err(error) => resolved.missing.push(format!(
            "the kernel's BTF (type information) is not to be had: {error}; so start times, faults of ended processes, the \
             program break and user stacks are unknown to the kernel programs"
        )),
    }
    for field in &FIELDS {
        resolve_field(root, field, &mut resolved);
    }
    resolved
}

fn resolve_members(btf: &Btf, resolved: &mut Resolved) {
    for Member { structure, name, slot } in &MEMBERS {
        match btf.member_offset(structure, name) {
            Some(offset) => *slot(&mut resolved.layout) = offset,
            None => resolved.missing.push(format!("{structure}.{name}: not in the kernel's BTF")),
        }
    }
    // It came with Linux 5.15; before, the programs look where it would.
    resolved.layout.has_task_pt_regs = u32::from(btf.has_function("bpf_task_pt_regs"));
}

fn resolve_field(root: &Path, field: &Field, resolved: &mut Resolved) {
    let Field { tracepoint, what, .. } = field;
    match read_format(root, tracepoint).map(|format| (field.find)(&format)) {
        Ok(Some(offset)) => *(field.slot)(&mut resolved.layout) = offset,
        Ok(None) => {
            resolved.missing.push(format!("tracepoint {tracepoint}: its format has not {what}"));
        }
        Err(why) => resolved.missing.push(format!("tracepoint {tracepoint}, {what}: {why}")),
    }
}

/// tracefs may be mounted in its own place or, as before Linux 4.1, only inside debugfs.
fn read_format(root: &Path, tracepoint: &str) -> Result<String, String> {
    let read = |tracefs: &str| {
        fs::read_to_string(root.join(tracefs).join("events").join(tracepoint).join("format"))
    };
    read("sys/kernel/tracing")
        .or_else(|first| read("sys/kernel/debug/tracing").map_err(|_| first))
        .map_err(|error| format!("cannot read its format: {error}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use tracer_common::UNKNOWN_OFFSET;

    use super::*;

    const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tracepoints");

    fn root_with_tracefs(place: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let tracefs = root.path().join(place);
        fs::create_dir_all(&tracefs).unwrap();
        std::os::unix::fs::symlink(FIXTURES, tracefs.join("events")).unwrap();
        root
    }

    #[test]
    fn tracepoints_are_found_in_either_place() {
        for place in ["sys/kernel/tracing", "sys/kernel/debug/tracing"] {
            let root = root_with_tracefs(place);
            let Resolved { layout, missing } = resolve(root.path());
            assert_eq!(layout.sys_enter_args, 16);
            assert_eq!(layout.sys_exit_ret, 16);
            assert_eq!(layout.newtask_pid, 8);
            assert_eq!(layout.newtask_clone_flags, 32);
            assert_eq!(layout.exec_old_pid, 16);
            assert_eq!(layout.task_pid, UNKNOWN_OFFSET);
            assert_eq!(missing.len(), 1, "{missing:?}");
            assert!(missing[0].contains("BTF (type information)"));
        }
    }

    #[test]
    fn with_nothing_to_read_everything_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let Resolved { layout, missing } = resolve(root.path());
        assert_eq!(layout, KernelLayout::UNKNOWN);
        assert_eq!(missing.len(), 1 + FIELDS.len(), "{missing:?}");
    }

    #[test]
    fn broken_type_information_is_one_line() {
        let root = root_with_tracefs("sys/kernel/tracing");
        let btf = root.path().join("sys/kernel/btf");
        fs::create_dir_all(&btf).unwrap();
        fs::write(btf.join("vmlinux"), b"not BTF").unwrap();
        assert_eq!(resolve(root.path()).missing.len(), 1);
    }

    #[test]
    fn this_kernel_is_understood_as_far_as_it_tells() {
        let Ok(btf) = Btf::load(Path::new("/")) else {
            return;
        };
        let mut resolved = Resolved { layout: KernelLayout::UNKNOWN, missing: Vec::new() };
        resolve_members(&btf, &mut resolved);
        let layout = resolved.layout;
        assert_ne!(layout.task_tgid, UNKNOWN_OFFSET, "{:?}", resolved.missing);
        assert_eq!(layout.task_tgid, layout.task_pid + 4);
        assert!(!btf.has_function("no such function"));
    }
}
