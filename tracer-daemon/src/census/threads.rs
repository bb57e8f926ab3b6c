//! What only the threads know, summed over those that live: a sum can go down when one ends.

use super::{CensusError, ProcRoot, stat::parse};

/// Times that threads stopped running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// Because they gave the CPU up.
    pub voluntary: u64,
    /// Because it was taken from them.
    pub involuntary: u64,
}

/// Where the time of threads goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadTimes {
    /// How many there are.
    pub threads: u64,
    /// Nanoseconds in which they ran, or waited for a CPU, in their lives.
    pub awake_ns: u64,
    /// Those that wait at this moment and cannot be interrupted: for the disk, or for a lock.
    pub waiting: u64,
    /// Those that wait at this moment for something else.
    pub sleeping: u64,
}

impl ProcRoot {
    /// Context switches of the living threads.
    ///
    /// # Errors
    /// If the process has ended or a file is not as in proc(5).
    pub fn switches(&self, pid: u32) -> Result<Switches, CensusError> {
        let mut sum = Switches::default();
        self.for_each_thread(pid, "status", |status| {
            let value = |key: &[u8]| {
                status
                    .split(|&byte| byte == b'\n')
                    .find_map(|line| first_number(line.strip_prefix(key)?))
            };
            let (Some(voluntary), Some(involuntary)) =
                (value(b"voluntary_ctxt_switches:"), value(b"nonvoluntary_ctxt_switches:"))
            else {
                return Err("no context switches in it");
            };
            sum.voluntary = sum.voluntary.saturating_add(voluntary);
            sum.involuntary = sum.involuntary.saturating_add(involuntary);
            Ok(())
        })?;
        Ok(sum)
    }

    /// How the living threads spend their time.
    ///
    /// # Errors
    /// As [`Self::switches`]; also if the kernel does not count it (`CONFIG_SCHED_INFO`).
    pub fn thread_times(&self, pid: u32) -> Result<ThreadTimes, CensusError> {
        let mut times = ThreadTimes::default();
        self.for_each_thread(pid, "schedstat", |line| {
            let mut numbers = line.split(u8::is_ascii_whitespace).map(first_number);
            let (Some(Some(running)), Some(Some(queued))) = (numbers.next(), numbers.next()) else {
                return Err("no times in it");
            };
            times.awake_ns = times.awake_ns.saturating_add(running).saturating_add(queued);
            times.threads += 1;
            Ok(())
        })?;
        self.for_each_thread(pid, "stat", |stat| {
            match parse(stat).ok_or("not as in proc(5)")?.state {
                'D' => times.waiting += 1,
                'S' => times.sleeping += 1,
                _ => {}
            }
            Ok(())
        })?;
        Ok(times)
    }

    /// Calls `visit` with the file of each thread. Threads that end meanwhile are left out.
    fn for_each_thread(
        &self,
        pid: u32,
        name: &str,
        mut visit: impl FnMut(&[u8]) -> Result<(), &'static str>,
    ) -> Result<(), CensusError> {
        let mut seen = 0;
        let mut failure = CensusError::NoSuchProcess(pid);
        for tid in self.thread_ids(pid)? {
            let file = format!("task/{tid}/{name}");
            match self.read(pid, &file) {
                Ok(content) => {
                    visit(&content).map_err(|why| self.malformed(pid, &file, why))?;
                    seen += 1;
                }
                Err(error) => failure = error,
            }
        }
        if seen == 0 { Err(failure) } else { Ok(()) }
    }
}

fn first_number(text: &[u8]) -> Option<u64> {
    let word = text.split(u8::is_ascii_whitespace).find(|w| !w.is_empty())?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::{super::fake::FakeProc, *};

    #[test]
    fn threads_are_summed_whatever_they_are_called() {
        let fake = FakeProc::new();
        for (tid, name) in [("5", b"Name:\t\xff:x\n".as_slice()), ("6", b"Name:\ta:b:\n")] {
            let mut status = name.to_vec();
            status.extend(b"voluntary_ctxt_switches:\t10\nnonvoluntary_ctxt_switches:\t3\n");
            fake.write(&format!("5/task/{tid}/status"), &status);
        }
        let sum = fake.root().switches(5).unwrap();
        assert_eq!((sum.voluntary, sum.involuntary), (20, 6));
    }

    #[test]
    fn a_thread_that_has_ended_is_left_out() {
        let fake = FakeProc::new();
        fake.write(
            "5/task/5/status",
            b"voluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t2\n",
        );
        fake.write("5/task/6/gone", b"");
        assert_eq!(fake.root().switches(5).unwrap(), Switches { voluntary: 1, involuntary: 2 });
    }

    #[test]
    fn failures_are_told_apart() {
        let fake = FakeProc::new();
        fake.write("5/task/5/status", b"x\n");
        fake.write("7/task/7/gone", b"");
        assert!(matches!(fake.root().switches(5), Err(CensusError::Malformed { .. })));
        assert!(matches!(fake.root().switches(7), Err(CensusError::Unreadable { .. })));
        assert!(matches!(fake.root().switches(6), Err(CensusError::NoSuchProcess(6))));
    }

    #[test]
    fn this_process_can_be_read() {
        let (root, pid) = (ProcRoot::default(), std::process::id());
        root.switches(pid).unwrap();
    }

    #[test]
    fn times_and_states_are_those_of_all_threads() {
        let fake = FakeProc::new();
        for (tid, times, state) in [("5", "10 4 1\n", 'D'), ("6", "100 40 9\n", 'S')] {
            fake.write(&format!("5/task/{tid}/schedstat"), times.as_bytes());
            let rest = ["0"; 30].join(" ");
            let stat = format!("{tid} (x) {state} {rest}\n");
            fake.write(&format!("5/task/{tid}/stat"), stat.as_bytes());
        }
        let times = ThreadTimes { threads: 2, awake_ns: 154, waiting: 1, sleeping: 1 };
        assert_eq!(fake.root().thread_times(5).unwrap(), times);
        fake.write("5/task/6/schedstat", b"100\n");
        assert!(matches!(fake.root().thread_times(5), Err(CensusError::Malformed { .. })));
    }
}
