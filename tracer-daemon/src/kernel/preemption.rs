//! Whether the kernel takes the CPU away from a thread that runs kernel code.
//!
//! The kernel skips a tracing program where another thread is inside it on the same CPU
//! (`bpf_prog.active`, kernel/bpf/trampoline.c and kernel/trace/bpf_trace.c; the program's
//! `recursion_misses` counts how often). That is meant for recursion, but a thread that was
//! preempted inside the program is there as well, for as long as it has to wait.

use std::io::Read as _;

use rustix::{
    fs::{Mode, OFlags, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
};

/// Whether it does; where it cannot be found out, yes.
#[must_use]
pub fn preempts() -> bool {
    let name = rustix::system::uname();
    let version = name.version().to_string_lossy();
    match built(&version) {
        Built::Never => false,
        Built::Always => true,
        // The file is in a debugfs that need not be mounted.
        Built::AtBoot => chosen().is_none_or(|text| is_preemptive(&text)),
    }
}

/// When it was decided.
#[derive(Debug, PartialEq, Eq)]
enum Built {
    Never,
    Always,
    AtBoot,
}

/// From `uname -v`, whose words are put together in init/Makefile.
fn built(version: &str) -> Built {
    let word = version.split_whitespace().find(|word| word.starts_with("PREEMPT"));
    match word {
        None => Built::Never,
        Some("PREEMPT_DYNAMIC") => Built::AtBoot,
        Some(_) => Built::Always,
    }
}

/// `sched/preempt` of debugfs (kernel/sched/debug.c).
fn chosen() -> Option<String> {
    let context = fsopen("debugfs", FsOpenFlags::FSOPEN_CLOEXEC).ok()?;
    fsconfig_create(&context).ok()?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let root = fsmount(&context, flags, MountAttrFlags::MOUNT_ATTR_RDONLY).ok()?;
    let file = openat(root, "sched/preempt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut text = String::new();
    std::fs::File::from(file.ok()?).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The mode in force stands in parentheses.
fn is_preemptive(text: &str) -> bool {
    !["(none)", "(voluntary)"].iter().any(|mode| text.contains(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_in_the_version() {
        assert_eq!(built("#1 SMP Debian 5.10.226-1 (2024-10-03)"), Built::Never);
        assert_eq!(built("#1 SMP PREEMPT_DYNAMIC Debian 7.2.13-1 (2026-10-28)"), Built::AtBoot);
        assert_eq!(built("#1 SMP PREEMPT_RT Debian 6.1.1-1"), Built::Always);
        assert_eq!(built("#1 SMP PREEMPT Debian 4.19"), Built::Always);
    }

    #[test]
    fn the_mode_in_force_is_in_parentheses() {
        assert!(!is_preemptive("none (voluntary) full \n"));
        assert!(!is_preemptive("(none) voluntary full lazy \n"));
        assert!(is_preemptive("none voluntary (full) \n"));
        assert!(is_preemptive("full (lazy) \n"));
    }
}
