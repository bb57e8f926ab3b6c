use std::str::FromStr;

use super::{CensusError, ProcRoot};

/// What `/proc/PID/stat` says; threads that have ended are in the totals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessStat {
    /// The process.
    pub pid: u32,
    /// The kernel's name for its main thread; what is not UTF-8 is replaced.
    pub comm: String,
    /// `R`, `S`, `D`, `Z`, … as in proc(5).
    pub state: char,
    /// Page faults without a read from disk.
    pub minor_faults: u64,
    /// Page faults with one.
    pub major_faults: u64,
    /// CPU time in user mode, in ticks of [`tracer_common::TICK_NS`].
    pub user_ticks: u64,
    /// CPU time in the kernel, in the same.
    pub system_ticks: u64,
    /// CPU time of children that have ended and were waited for, in the same.
    pub children_ticks: u64,
    /// Living threads.
    pub threads: u64,
    /// Memory that it has, in bytes; the kernel's counters run a few pages per thread behind.
    pub resident_bytes: u64,
    /// When it was forked, in ticks since boot.
    pub start_ticks: u64,
    /// Whether it is a thread of the kernel: those have no address space of their own.
    pub is_kernel_thread: bool,
}

/// The unit of `rss` on x86-64.
const PAGE: u64 = 4096;

/// The kernel's `PF_KTHREAD` (include/linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

impl ProcRoot {
    /// The counters of a process.
    ///
    /// # Errors
    /// If it has ended or the file is not as in proc(5).
    pub fn stat(&self, pid: u32) -> Result<ProcessStat, CensusError> {
        let line = self.read(pid, "stat")?;
        parse(&line).ok_or_else(|| self.malformed(pid, "stat", "not as in proc(5)"))
    }
}

/// `PID (COMM) STATE …`: the comm may hold anything, `)` and newlines too, what follows may not.
pub(super) fn parse(line: &[u8]) -> Option<ProcessStat> {
    let open = line.iter().position(|&byte| byte == b'(')?;
    let close = line.iter().rposition(|&byte| byte == b')')?;
    let comm = line.get(open + 1..close)?;
    let rest = std::str::from_utf8(&line[close + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // proc(5) counts from 1, and the first field after the comm is its third.
    let field = |number: usize| fields.get(number - 3).copied();
    Some(ProcessStat {
        pid: number(std::str::from_utf8(&line[..open]).ok()?.trim())?,
        comm: String::from_utf8_lossy(comm).into_owned(),
        state: field(3)?.chars().next()?,
        minor_faults: number(field(10)?)?,
        major_faults: number(field(12)?)?,
        user_ticks: number(field(14)?)?,
        system_ticks: number(field(15)?)?,
        children_ticks: number::<u64>(field(16)?)?.saturating_add(number(field(17)?)?),
        threads: number(field(20)?)?,
        resident_bytes: number::<u64>(field(24)?)?.saturating_mul(PAGE),
        start_ticks: number(field(22)?)?,
        is_kernel_thread: number::<u64>(field(9)?)? & KERNEL_THREAD != 0,
    })
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::{super::fake::FakeProc, *};

    fn line(comm: &[u8]) -> Vec<u8> {
        let mut line = b"42 (".to_vec();
        line.extend(comm);
        line.extend(
            b") S 1 42 42 0 -1 4194560 1001 2002 3003 4004 55 66 77 88 20 0 9 0 123456 \
              4096 10 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0\n",
        );
        line
    }

    #[test]
    fn fields_are_those_of_the_manual() {
        let stat = parse(&line(b"cat")).unwrap();
        assert_eq!(
            stat,
            ProcessStat {
                pid: 42,
                comm: "cat".to_owned(),
                state: 'S',
                minor_faults: 1001,
                major_faults: 3003,
                user_ticks: 55,
                system_ticks: 66,
                children_ticks: 77 + 88,
                threads: 9,
                resident_bytes: 40_960,
                start_ticks: 123_456,
                is_kernel_thread: false,
            }
        );
    }

    #[test]
    fn threads_of_the_kernel_are_told_apart() {
        let text = String::from_utf8(line(b"kworker/0:1")).unwrap();
        let stat = parse(text.replace("4194560", "69238880").as_bytes()).unwrap();
        assert!(stat.is_kernel_thread);
    }

    #[test]
    fn a_comm_may_hold_anything() {
        for comm in
            [b"a) R 1 (b".as_slice(), b"", b")", b"((((", b"with space", b"new\nline", b"\xff\xfe"]
        {
            let stat = parse(&line(comm)).unwrap();
            assert_eq!(stat.comm, String::from_utf8_lossy(comm));
            assert_eq!(stat.start_ticks, 123_456);
        }
    }

    #[test]
    fn anything_cut_short_or_turned_round_is_malformed() {
        let whole = line(b"cat");
        let resident = whole.windows(4).position(|w| w == b" 10 ").unwrap();
        for length in 0..=resident {
            assert_eq!(parse(&whole[..length]), None);
        }
        assert_eq!(parse(b")("), None);
        assert_eq!(parse(b"-1 (x) S 1 1"), None);
        let fake = FakeProc::new();
        fake.write("42/stat", b"42 (x");
        assert!(matches!(fake.root().stat(42), Err(CensusError::Malformed { .. })));
    }

    #[test]
    fn this_process_can_be_read() {
        let stat = ProcRoot::default().stat(std::process::id()).unwrap();
        assert_eq!(stat.pid, std::process::id());
        assert!(stat.threads >= 1 && stat.start_ticks > 0 && stat.minor_faults > 0);
    }
}
