//! Whatever processes, names, ages, caps and reloads do: the groups' sum is what was counted.

use tracer_common::{
    ErrnoKey, Lifecycle, LockKey, LockWaits, LookupCounts, SyscallCounter, SyscallKey,
};

use super::*;
use crate::aggregate::{cpu::CpuClass, cpu_by_process::CpuKey};

const STARTED: u64 = 1000;

/// Calls, failures, waits, look-ups, samples, forks, execs.
type Work = [u64; 7];

/// Marsaglia's xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }
}

struct Process {
    id: ProcessId,
    work: Work,
    faults: Faults,
    /// As `/proc` last showed them, once it did.
    shown: Option<Faults>,
    /// When `/proc` showed it first.
    first: Faults,
    ended: bool,
    group: Belongs,
}

/// A kernel and its processes.
struct Machine {
    chance: Chance,
    /// By their numbers, so that chance meets them in the same order each time.
    processes: BTreeMap<u32, Process>,
    counters: Counters,
    groups: Groups,
    next: u32,
    /// By processes that nobody remembers.
    forgotten: (Work, Faults),
    ends: u64,
    now: Duration,
}

fn add(sum: &mut Faults, more: Faults) {
    (sum.minor, sum.major) = (sum.minor + more.minor, sum.major + more.major);
}

impl Machine {
    fn new(seed: u64) -> Self {
        let measured =
            Measured { calls: vec![Syscall::Mmap], lookups: vec![Lookup::VmUnmappedArea] };
        Self {
            chance: Chance(seed),
            processes: BTreeMap::new(),
            counters: Counters::default(),
            groups: Groups::new(STARTED, measured, 5),
            next: 1,
            forgotten: Default::default(),
            ends: 0,
            now: Duration::ZERO,
        }
    }

    fn belongs(&mut self) -> Belongs {
        let number = self.chance.below(12);
        Belongs { to: Arc::from(format!("g{number}")), founds: !self.chance.one_in(3) }
    }

    fn fork(&mut self, start_ticks: u64) {
        let group = self.belongs();
        let process = Process {
            id: ProcessId::new(self.next, start_ticks),
            work: Work::default(),
            faults: Faults { minor: self.chance.below(50), major: 0 },
            shown: None,
            first: Faults::default(),
            ended: false,
            group,
        };
        self.processes.insert(self.next, process);
        self.next += 1;
    }

    fn alive(&self) -> Vec<ProcessId> {
        let alive = self.processes.values().filter(|process| !process.ended);
        alive.map(|process| process.id).collect()
    }

    /// What a while does to the processes.
    fn go_on(&mut self) {
        for _ in 0..self.chance.below(4) {
            self.fork(STARTED + u64::from(self.next));
        }
        for id in self.alive() {
            if self.chance.one_in(3) {
                continue;
            }
            let grown: Work = std::array::from_fn(|_| self.chance.below(5));
            let group = self.chance.one_in(4).then(|| self.belongs());
            let (minor, major) = (self.chance.below(9), self.chance.below(2));
            let ends = self.chance.one_in(6);
            let process = self.processes.get_mut(&id.pid).expect("alive");
            process.work = std::array::from_fn(|kind| process.work[kind] + grown[kind]);
            add(&mut process.faults, Faults { minor, major });
            process.group = group.unwrap_or_else(|| process.group.clone());
            process.ended = ends;
            let (work, faults) = (process.work, process.faults);
            self.put(id, work);
            if ends {
                self.ends += 1;
                let (minor, major) = (faults.minor, faults.major);
                let exits = ExitTotals { minor, major, dead: 1, ..ExitTotals::default() };
                self.counters.exits.insert(id, exits);
            }
        }
    }

    fn put(&mut self, process: ProcessId, work: Work) {
        let [calls, failures, waits, lookups, samples, forks, execs] = work;
        let syscall = Syscall::Mmap as u32;
        let of = &mut self.counters;
        let counter = SyscallCounter { calls, bytes: 2 * calls, ..SyscallCounter::default() };
        of.syscalls.insert(SyscallKey { process, syscall, reserved: 0 }, counter);
        of.errnos.insert(ErrnoKey { process, syscall, errno: 12 }, failures);
        let lock = LockKey { process, call: 0, write: 0, traced: 0 };
        of.lock_waits.insert(lock, LockWaits { waits, ..LockWaits::default() });
        of.lookups.insert(process, LookupCounts { calls: [0, 0, 0, 0, lookups] });
        of.cpu.insert(CpuKey { process, class: CpuClass::User }, samples);
        of.lifecycles.insert(process, Lifecycle { forks, execs, exits: 0 });
    }

    fn forget(&mut self, id: ProcessId) {
        let of = &mut self.counters;
        of.syscalls.retain(|key, _| key.process != id);
        of.errnos.retain(|key, _| key.process != id);
        of.lock_waits.retain(|key, _| key.process != id);
        of.lookups.remove(&id);
        of.cpu.retain(|key, _| key.process != id);
        of.lifecycles.remove(&id);
        of.exits.remove(&id);
        let process = self.processes.remove(&id.pid).expect("it was there");
        let counted = process.counted_faults();
        let (work, faults) = &mut self.forgotten;
        *work = std::array::from_fn(|kind| work[kind] + process.work[kind]);
        add(faults, counted);
    }

    /// What `/proc` shows: the living, and here and there one that has just ended.
    fn proc(&mut self) -> HashMap<ProcessId, Living> {
        let mut living = HashMap::new();
        for process in self.processes.values_mut() {
            if process.ended && (process.shown.is_none() || self.chance.one_in(2)) {
                continue;
            }
            if process.shown.is_none() && process.id.start_ticks <= STARTED {
                process.first = process.faults;
            }
            process.shown = Some(process.faults);
            let live = Living {
                start_ticks: process.id.start_ticks,
                group: process.group.clone(),
                faults: process.faults,
                areas: None,
            };
            living.insert(process.id, live);
        }
        living
    }

    fn sample(&mut self) {
        self.now += Duration::from_secs(5 + self.chance.below(2000));
        let living = self.proc();
        // Between the two readings.
        self.go_on();
        let ended = self.belongs();
        let name = |_: Option<&ExitTotals>| ended.clone();
        let done = self.groups.apply(&self.counters, &living, self.now, name);
        done.into_iter().for_each(|id| self.forget(id));
    }

    /// What the groups have to have counted: all that was, but for what is known of nobody yet.
    fn truth(&self) -> (Work, Faults, u64) {
        let (mut work, mut faults) = self.forgotten;
        for process in self.processes.values() {
            if process.shown.is_some() || process.ended {
                work = std::array::from_fn(|kind| work[kind] + process.work[kind]);
            }
            add(&mut faults, process.counted_faults());
        }
        (work, faults, self.ends)
    }

    fn counted(&self) -> (Work, Faults, u64) {
        let (mut work, mut faults, mut exits) = (Work::default(), Faults::default(), 0);
        for group in self.groups.totals().values() {
            let mmap = &group.syscalls[&Syscall::Mmap];
            assert_eq!(mmap.bytes, 2 * mmap.calls);
            let kinds = [
                mmap.calls,
                mmap.failures.values().sum(),
                group.lock_waits.values().map(|waits| waits.waits).sum(),
                group.lookups.values().sum(),
                group.cpu_samples.values().sum(),
                group.forks,
                group.execs,
            ];
            work = std::array::from_fn(|kind| work[kind] + kinds[kind]);
            add(&mut faults, Faults { minor: group.minor_faults, major: group.major_faults });
            exits += group.exits;
        }
        (work, faults, exits)
    }
}

impl Process {
    /// Since the tracer began, as far as anybody can know.
    fn counted_faults(&self) -> Faults {
        let known = if self.ended { self.faults } else { self.shown.unwrap_or_default() };
        Faults { minor: known.minor - self.first.minor, major: known.major - self.first.major }
    }
}

#[test]
fn the_groups_sum_is_the_machines() {
    let mut reserved = HashSet::new();
    for seed in 1..=100 {
        let mut machine = Machine::new(seed);
        (0..5).for_each(|_| machine.fork(STARTED - 1));
        for step in 0..60 {
            machine.sample();
            assert_eq!(machine.counted(), machine.truth(), "seed {seed}, step {step}");
            if machine.chance.one_in(5) {
                let most = 1 + machine.chance.below(8);
                machine.groups.regroup(most as usize);
            }
            machine.go_on();
        }
        let names = machine.groups.totals().into_keys();
        reserved.extend(names.filter(|name| name.starts_with(RESERVED)));
    }
    assert_eq!(reserved.len(), 3, "all of it happened: {reserved:?}");
}
