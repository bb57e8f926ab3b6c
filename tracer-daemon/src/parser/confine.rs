//! What a parser gives up before it looks at anything: privileges, what it has inherited, memory, system calls.

use std::{fs, io};

use rustix::{
    process::{
        DumpableBehavior, Gid, Resource, Rlimit, Signal, Uid, geteuid, getrlimit,
        set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
    },
    thread::{
        CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
        set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
        set_thread_res_uid,
    },
};

use super::calls::restrict;

/// Bytes of memory of its own; mapped files are not among them. Debug information of the largest programs
/// takes some hundred megabytes.
pub(super) const MOST_MEMORY: u64 = 1 << 30;
/// Files of a session, and a few of its own.
const MOST_DESCRIPTORS: u64 = super::MOST_FILES as u64 + 64;
/// The user and the group that own nothing.
const NOBODY: u32 = 65_534;
/// Of all processes the first to go when memory is short.
const FIRST_TO_GO: &str = "1000";

/// Gives all up, or says in a line what could not be given up: as an error what it must not go on with. To be
/// called by the only thread.
pub(super) fn confine() -> Result<Option<String>, String> {
    let step = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let limit = |resource, most: u64| {
        let hard = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
        setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })
    };
    close_inherited().map_err(step("inherited files cannot be closed"))?;
    if let Err(error) = fs::write("/proc/self/oom_score_adj", FIRST_TO_GO) {
        log::debug!("not the first to go: {error}");
    }
    become_nobody();
    set_no_new_privs(true).map_err(|error| step("new privileges")(error.into()))?;
    give_up_capabilities().map_err(step("capabilities cannot be given up"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| step("others may look at it")(error.into()))?;
    // A change of user would have undone it. If the session has ended before, so has its socket.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| step("it cannot end with the session")(error.into()))?;
    for (resource, most) in [
        (Resource::Data, MOST_MEMORY),
        (Resource::Nofile, MOST_DESCRIPTORS),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
    ] {
        limit(resource, most).map_err(|error| step("its limits")(error.into()))?;
    }
    // Last, for what came before takes more calls. Kernels may be built without, and a container's profile may
    // refuse it; it has nothing to misuse them with by now.
    let kept =
        |error| format!("who reads programs' files keeps all system calls: seccomp: {error}");
    Ok(restrict().err().map(kept))
}

/// All but the first three.
fn close_inherited() -> io::Result<()> {
    // SAFETY: nothing in this process has opened a file that it still needs; the call reads no memory.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Only root may, and not in every container; without capabilities it is harmless as well.
fn become_nobody() {
    if !geteuid().is_root() {
        return;
    }
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let bounding = || CapabilitySet::all().iter();
    for capability in bounding() {
        // Those that this kernel does not know, and all if CAP_SETPCAP is missing.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let done = set_thread_groups(&[])
        .and_then(|()| set_thread_res_gid(group, group, group))
        .and_then(|()| set_thread_res_uid(user, user, user));
    if let Err(error) = done {
        log::debug!("it stays root: {error}");
    }
}

/// Those of all sets but the bounding one, from which nothing can be regained.
fn give_up_capabilities() -> io::Result<()> {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets)?;
    if capabilities(None)? == sets { Ok(()) } else { Err(io::Error::other("some are left")) }
}
