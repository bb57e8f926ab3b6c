//! Whether this process may trace, and the surroundings that tracing needs.

use std::{io, path::Path};

use rustix::{
    mount::{MountFlags, mount},
    process::{Resource, Rlimit, setrlimit},
    thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities},
};

use crate::error::Error;

/// Capabilities and what each is for. `CAP_SYS_ADMIN` stands for the first two, as it did before
/// Linux 5.8.
const NEEDED: &[(CapabilitySet, &str, &str)] = &[
    (CapabilitySet::BPF, "CAP_BPF", "to load the kernel programs"),
    (CapabilitySet::PERFMON, "CAP_PERFMON", "to attach the kernel programs"),
    (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE", "to read other processes' mappings"),
    (CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "to read tracefs and binaries"),
];

/// What `/proc` of other processes and files of other users take.
pub const TO_READ: CapabilitySet = CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);

/// The same and maps: before Linux 5.19 (commit c8644cd0efe7) `kernel.unprivileged_bpf_disabled` is about every use of
/// `bpf(2)`.
pub const TO_READ_MAPS: CapabilitySet =
    TO_READ.union(CapabilitySet::BPF).union(CapabilitySet::SYS_ADMIN);

/// The inode of the initial pid namespace (include/linux/proc_ns.h, PROC_PID_INIT_INO).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Checks that nothing is missing.
///
/// # Errors
/// Names the first missing capability, or the namespace.
pub fn check() -> Result<(), Error> {
    // The kernel programs see the pids of the initial namespace, /proc those of its own.
    let namespace = std::fs::read_link("/proc/self/ns/pid");
    if namespace.is_ok_and(|name| name.as_os_str() != INITIAL_PID_NAMESPACE) {
        return Err(Error::NotPermitted(
            "not permitted: this is not the host's pid namespace, where pids mean something else; \
             run on the host, or the container with its pid namespace (--pid=host)"
                .to_owned(),
        ));
    }
    let held = capabilities(None)
        .map_err(|error| Error::NotPermitted(format!("cannot read own capabilities: {error}")))?
        .effective;
    let admin = held.contains(CapabilitySet::SYS_ADMIN);
    let implied = CapabilitySet::BPF | CapabilitySet::PERFMON;
    for &(capability, name, purpose) in NEEDED {
        let stands_in = admin && implied.contains(capability);
        if !(stands_in || held.contains(capability)) {
            return Err(Error::NotPermitted(format!(
                "not permitted: {name} is missing, needed {purpose}; run as root (sudo)"
            )));
        }
    }
    Ok(())
}

/// Lets this thread do what these capabilities of its own allow, until it takes others. Threads that it starts are
/// like it; programs that it starts have all of them.
///
/// # Errors
/// When a filter of system calls is in the way.
pub fn wield(wanted: CapabilitySet) -> io::Result<()> {
    let held = capabilities(None)?;
    Ok(set_capabilities(None, CapabilitySets { effective: held.permitted & wanted, ..held })?)
}

/// Gives up all capabilities but these, for ever, in this thread and those that it starts.
///
/// # Errors
/// As [`wield`].
pub fn keep(wanted: CapabilitySet) -> io::Result<()> {
    let CapabilitySets { effective, permitted, inheritable } = capabilities(None)?;
    let kept = CapabilitySets {
        effective: effective & wanted,
        permitted: permitted & wanted,
        inheritable: inheritable & wanted,
    };
    Ok(set_capabilities(None, kept)?)
}

/// Makes the tracepoints visible and lifts the limit on locked memory, which kernels before 5.11
/// charge for maps. What fails here is reported later, by what needed it.
pub fn prepare() {
    let tracing = Path::new("/sys/kernel/tracing");
    let empty = tracing.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    if empty && let Err(error) = mount("tracefs", tracing, "tracefs", MountFlags::empty(), None) {
        log::info!("tracefs is not mounted and cannot be: {error}");
    }
    let unlimited = Rlimit { current: None, maximum: None };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        log::debug!("the limit on locked memory stays: {error}");
    }
}

/// What may be behind a refused perf event, although `CAP_PERFMON` is held.
#[must_use]
pub fn perf_restriction() -> Option<String> {
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?;
    let admin = capabilities(None).ok()?.effective.contains(CapabilitySet::SYS_ADMIN);
    restriction(level.trim().parse().ok()?, admin)
}

/// Debian and Ubuntu have levels above 2, at which kernels such as Linux 6.1 want more than `CAP_PERFMON`.
fn restriction(level: i32, admin: bool) -> Option<String> {
    (level > 2 && !admin).then(|| {
        format!(
            "kernel.perf_event_paranoid is {level}: this kernel may want CAP_SYS_ADMIN, or 2 there"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::restriction;

    #[test]
    fn levels_of_distributions_want_more() {
        assert_eq!(restriction(2, false), None);
        assert_eq!(restriction(3, true), None);
        assert!(restriction(3, false).is_some_and(|why| why.contains("is 3")));
    }
}
