//! The system calls that are left to a parser: to read what it was handed, to answer, to have memory.

use std::{collections::BTreeMap, io};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// Those that are harmless whatever they are given.
const HARMLESS: [i64; 31] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_pread64,
    libc::SYS_read,
    libc::SYS_readlink,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_write,
];

/// Leaves no others to this thread and to those that it may start. They fail with `EPERM`: a C library that
/// tries another call than today's goes on without it, where a signal would blame the file in hand.
pub(super) fn restrict() -> io::Result<()> {
    let program = program(std::process::id()).map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

fn program(own: u32) -> Result<BpfProgram, seccompiler::BackendError> {
    let is = |argument, value| SeccompCondition::new(argument, Dword, SeccompCmpOp::Eq, value);
    let lacks = |argument, bits: i32| {
        let bits = u64::from(bits.cast_unsigned());
        SeccompCondition::new(argument, Dword, SeccompCmpOp::MaskedEq(bits), 0)
    };
    let only_if = |conditions| Ok(vec![SeccompRule::new(conditions)?]);
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> =
        HARMLESS.into_iter().map(|call| (call, Vec::new())).collect();
    // Debug files, and by a path of /proc what it was handed.
    let written = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
    calls.insert(libc::SYS_openat, only_if(vec![lacks(2, written)?])?);
    for maps in [libc::SYS_mmap, libc::SYS_mprotect] {
        calls.insert(maps, only_if(vec![lacks(2, libc::PROT_EXEC)?])?);
    }
    // An allocation that fails aborts.
    let abort = vec![is(0, own.into())?, is(2, libc::SIGABRT as u64)?];
    calls.insert(libc::SYS_tgkill, only_if(abort)?);
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(calls, refused, SeccompAction::Allow, TargetArch::x86_64)?.try_into()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::{
        fs::{self, File},
        net::TcpListener,
        path::Path,
        process::Command,
        thread,
    };

    use rustix::{
        mm::{MapFlags, ProtFlags, mmap_anonymous, munmap},
        process::{getpid, test_kill_process},
    };

    use super::*;

    fn execute() -> io::Result<()> {
        let (access, flags) = (ProtFlags::READ | ProtFlags::EXEC, MapFlags::PRIVATE);
        // SAFETY: a new mapping at a place of the kernel's choice, gone before anybody knows of it.
        unsafe {
            let place = mmap_anonymous(std::ptr::null_mut(), 4096, access, flags)?;
            Ok(munmap(place, 4096)?)
        }
    }

    type Attempt = (&'static str, Result<(), Option<i32>>);

    fn attempts(file: &Path) -> [Attempt; 6] {
        [
            ("kill", test_kill_process(getpid()).map_err(io::Error::from)),
            ("socket", TcpListener::bind("127.0.0.1:0").map(drop)),
            ("write", File::options().append(true).open(file).map(drop)),
            ("remove and make", fs::remove_file(file).and_then(|()| fs::write(file, ""))),
            ("program", Command::new("true").status().map(drop)),
            ("code", execute()),
        ]
        .map(|(what, done)| (what, done.map_err(|error| error.raw_os_error())))
    }

    /// In a thread of its own, for nothing gives the calls back.
    #[test]
    fn what_is_not_needed_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        for (what, done) in attempts(&path) {
            assert_eq!(done, Ok(()), "{what} without the filter");
        }
        let restricted = thread::spawn(move || {
            restrict().unwrap();
            (attempts(&path), fs::read(&path).is_ok())
        });
        let (attempts, is_read) = restricted.join().unwrap();
        for (what, done) in attempts {
            assert_eq!(done, Err(Some(libc::EPERM)), "{what}");
        }
        assert!(is_read);
    }
}
