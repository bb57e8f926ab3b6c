//! Stacks are unwound and named by a thread of their own, which asks a parser: neither a hostile binary nor a
//! large one keeps the ring buffer waiting.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use super::naming::Naming;
use crate::{
    aggregate::{
        snapshot::StackTotals,
        stacks::{Program, Sample, StackKey, StackSum, Stacks, Unwound},
    },
    census::ProcRoot,
    source::Readers,
};

/// Requests that wait for the thread.
const QUEUE: usize = 256;
/// Stacks that the parser is handed at once.
const BATCH: usize = 32;
/// Unwound stacks that wait for the session; small, unlike what they were made from.
const RESULTS: usize = 4096;
/// Named stacks that wait for the session.
const ANSWERS: usize = 64;
/// How long the beginning of a window may wait for the target's mappings to be read.
const READING_TIME: Duration = Duration::from_secs(2);
/// How long the end of a window may wait for what is yet to be unwound.
const UNWINDING_TIME: Duration = Duration::from_secs(5);

/// How long a session waits at its end for the thread to end its parser.
const ENDING_TIME: Duration = Duration::from_secs(5);

/// By the names of files; none where it is not known.
pub(super) type BuildIds = BTreeMap<String, Option<String>>;

enum Request {
    Ready(SyncSender<()>),
    Know(Program, Option<SyncSender<()>>),
    Unwind(Sample),
    Name(Vec<(StackKey, StackSum)>, Order, SyncSender<(usize, StackTotals)>),
    BuildIds(SyncSender<BuildIds>),
}

/// What comes first of what is to be named.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// Each stack twice: its places are there at once, and its names may not be.
    PlacesFirst,
    /// Each stack once, with its names.
    NamesOnly,
}

/// An unwound stack, or of one that could not be unwound the number that it stands for.
type Outcome = Result<Unwound, u64>;

/// The session's end of the thread.
pub(super) struct Unwinder {
    requests: SyncSender<Request>,
    results: Receiver<Outcome>,
    /// Calls and faults whose stacks are with the thread.
    under_way: u64,
    /// Behind the channels, for without them the thread ends.
    _end: End,
}

/// Waits for the thread when it is dropped, so that its parser has been waited for, but not for ever: it may
/// be reading a file system that does not answer.
struct End(Receiver<()>);

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.0.recv_timeout(ENDING_TIME);
    }
}

impl Unwinder {
    /// Starts the thread, and a parser by this command.
    pub(super) fn start(
        root: ProcRoot,
        readers: Readers,
        parser: fn() -> Command,
    ) -> std::io::Result<Self> {
        let (requests, inbox) = sync_channel(QUEUE);
        let (outbox, results) = sync_channel(RESULTS);
        let (lives, end) = sync_channel(0);
        thread::Builder::new().name("unwinder".to_owned()).spawn(move || {
            serve(&mut Naming::new(root, readers, parser), &inbox, &outbox);
            drop::<SyncSender<()>>(lives);
        })?;
        let unwinder = Self { requests, results, under_way: 0, _end: End(end) };
        // It is ready when the first program is, and does not have to be started then.
        unwinder.ask(Request::Ready);
        Ok(unwinder)
    }

    /// Reads what a process has mapped, now.
    pub(super) fn know(&self, program: Program) {
        self.ask(|done| Request::Know(program, Some(done)));
    }

    /// Waits for an answer, but not for ever: late or not at all, it costs names only.
    fn ask(&self, request: impl FnOnce(SyncSender<()>) -> Request) {
        let (done, wait) = sync_channel(1);
        if self.requests.send(request(done)).is_ok() {
            let _ = wait.recv_timeout(READING_TIME);
        }
    }

    /// Takes in what has been unwound, and hands over what is to be.
    pub(super) fn exchange(&mut self, stacks: &mut Stacks) {
        while let Ok(outcome) = self.results.try_recv() {
            self.take(outcome, stacks);
        }
        for program in stacks.take_loaded() {
            // With the queue full it is found out at the next stack.
            let _ = self.requests.try_send(Request::Know(program, None));
        }
        while let Some(sample) = stacks.next_waiting() {
            let count = sample.sum.count;
            match self.requests.try_send(Request::Unwind(sample)) {
                Ok(()) => self.under_way += count,
                Err(TrySendError::Full(Request::Unwind(sample))) => {
                    stacks.wait_again(sample);
                    return;
                }
                Err(_) => stacks.give_up(count),
            }
        }
    }

    fn take(&mut self, outcome: Outcome, stacks: &mut Stacks) {
        match outcome {
            Ok(unwound) => {
                self.under_way -= unwound.sum.count;
                stacks.add(unwound);
            }
            Err(count) => {
                self.under_way -= count;
                stacks.give_up(count);
            }
        }
    }

    /// Waits until all stacks are unwound, for a while.
    pub(super) fn finish(&mut self, stacks: &mut Stacks) {
        let deadline = Instant::now() + UNWINDING_TIME;
        loop {
            self.exchange(stacks);
            if self.under_way == 0 {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.results.recv_timeout(left) {
                Ok(outcome) => self.take(outcome, stacks),
                Err(_) => break,
            }
        }
        stacks.give_up(std::mem::take(&mut self.under_way));
        while let Some(sample) = stacks.next_waiting() {
            stacks.give_up(sample.sum.count);
        }
    }

    /// Hands the named stacks to `take`, with their numbers in the list, until `deadline`. Returns
    /// whether there was time for all.
    pub(super) fn name(
        &self,
        stacks: Vec<(StackKey, StackSum)>,
        order: Order,
        deadline: Instant,
        mut take: impl FnMut(usize, StackTotals),
    ) -> bool {
        let (answers, answered) = sync_channel(ANSWERS);
        if self.requests.try_send(Request::Name(stacks, order, answers)).is_err() {
            return false;
        }
        loop {
            match answered.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((index, totals)) => take(index, totals),
                Err(end) => return end == RecvTimeoutError::Disconnected,
            }
        }
    }

    /// The build-ids of all files that stacks led through, if there is time until `deadline`.
    pub(super) fn build_ids(&self, deadline: Instant) -> Option<BuildIds> {
        let (answer, answered) = sync_channel(1);
        self.requests.try_send(Request::BuildIds(answer)).ok()?;
        answered.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }
}

/// The thread. It ends when nobody wants anything any more.
fn serve(naming: &mut Naming, inbox: &Receiver<Request>, outbox: &SyncSender<Outcome>) {
    let mut next = None;
    while let Some(request) = next.take().or_else(|| inbox.recv().ok()) {
        match request {
            Request::Ready(done) => {
                let _ = done.send(());
            }
            Request::Know(program, done) => {
                naming.refresh(program);
                if let Some(done) = done {
                    let _ = done.send(());
                }
            }
            Request::BuildIds(answer) => {
                // Whoever asked may have given up.
                let _ = answer.send(naming.build_ids());
            }
            Request::Unwind(sample) => {
                let mut batch = vec![sample];
                next = more(&mut batch, inbox);
                let keys = naming.unwind(&batch);
                for (key, Sample { sum, id, .. }) in keys.into_iter().zip(batch) {
                    let outcome = key.map(|key| Unwound { key, sum, id }).ok_or(sum.count);
                    if outbox.send(outcome).is_err() {
                        return;
                    }
                }
            }
            Request::Name(stacks, order, answers) => {
                name(naming, &stacks, order, &answers);
            }
        }
    }
}

/// Takes in the stacks that wait as well. Returns the request that came behind them.
fn more(batch: &mut Vec<Sample>, inbox: &Receiver<Request>) -> Option<Request> {
    while batch.len() < BATCH {
        match inbox.try_recv().ok()? {
            Request::Unwind(sample) => batch.push(sample),
            other => return Some(other),
        }
    }
    None
}

fn name(
    naming: &mut Naming,
    stacks: &[(StackKey, StackSum)],
    order: Order,
    answers: &SyncSender<(usize, StackTotals)>,
) {
    naming.begin_answer();
    let passes: &[bool] = match order {
        Order::PlacesFirst => &[false, true],
        Order::NamesOnly => &[true],
    };
    let all = passes
        .iter()
        .flat_map(|named| stacks.iter().enumerate().map(|(index, stack)| (*named, index, stack)));
    for (named, index, (key, sum)) in all {
        if answers.send((index, naming.totals(key, *sum, named))).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::sync::Arc;

    use tracer_common::{ProcessId, Syscall, UserRegisters};

    use super::*;
    use crate::{aggregate::stack_kind::StackKind, unwind::StackCopy};

    /// This program, as the parser of the other tests.
    fn parser() -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.args(["--exact", "session::unwinder::tests::serves", "--ignored", "--nocapture"]);
        command
    }

    #[test]
    #[ignore = "is what `parser` starts"]
    fn serves() {
        crate::parser::serve().unwrap();
    }

    #[test]
    fn a_stack_goes_there_and_comes_back_with_names() {
        let rip = libc::malloc as *const () as u64;
        let registers = UserRegisters { rip, rsp: 8, ..UserRegisters::default() };
        let stack = Arc::new(StackCopy { registers, bytes: Box::default() });
        let program = (ProcessId::new(std::process::id(), 0), 0);
        let sum = StackSum { count: 2, bytes: 4096, duration_ns: 500 };
        let mut stacks = Stacks::default();
        let mut unwinder =
            Unwinder::start(ProcRoot::default(), Readers::default(), parser).unwrap();
        unwinder.know(program);
        for _ in 0..2 * QUEUE {
            let kind = StackKind::Call(Syscall::Mmap);
            stacks.wait(Sample { program, kind, stack: Arc::clone(&stack), sum, id: None });
        }
        unwinder.finish(&mut stacks);
        assert_eq!(stacks.not_queued(), 0);
        let wanted =
            stacks.heaviest(|_| 9).into_iter().map(|(key, sum)| (key.clone(), sum)).collect();
        let mut named = Vec::new();
        let deadline = Instant::now() + UNWINDING_TIME;
        let in_time = unwinder
            .name(wanted, Order::PlacesFirst, deadline, |at, stack| named.push((at, stack)));
        assert!(in_time && named.len() == 2, "{named:?}");
        let (at, stack) = &named[1];
        assert_eq!((*at, stack.count), (0, 4 * QUEUE as u64));
        let frame = &stack.frames[0];
        assert!(frame.symbol.as_deref().unwrap().contains("malloc"), "{frame:?}");
    }
}
