//! What only the threads know, summed over those that live: a sum can go down when one ends.

use super::{CensusError, ProcRoot};

/// Times that threads stopped running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// Because they gave the CPU up.
    pub voluntary: u64,
    /// Because it was taken from them.
    pub involuntary: u64,
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
}
