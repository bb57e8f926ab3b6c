use tracer_common::{Syscall, SyscallCounter, SyscallKey};

use super::*;
use crate::{
    aggregate::{
        cpu::CpuClass,
        cpu_by_process::CpuKey,
        groups::{Belongs, Faults},
        machine::{AreaTotals, CallTotals},
    },
    census::AreaCount,
};

const SECOND: u64 = 1_000_000_000;

#[derive(Default)]
struct World {
    pace: Pace,
    groups: BTreeMap<String, GroupTotals>,
    counters: Counters,
    living: HashMap<ProcessId, Living>,
}

impl World {
    fn step(&mut self, now_ns: u64) -> Option<Interval> {
        let standing = Standing {
            now_ns,
            has_cpu: true,
            groups: &self.groups,
            counters: &self.counters,
            living: &self.living,
        };
        self.pace.step(&standing, |id| format!("comm{}", id.pid))
    }

    fn group(&mut self, name: &str, calls: u64, call_ns: u64) -> &mut GroupTotals {
        let totals = self.groups.entry(name.to_owned()).or_default();
        let call = CallTotals { calls, duration_ns: call_ns, ..CallTotals::default() };
        totals.syscalls.insert(Syscall::Mmap, call);
        totals
    }

    fn process(&mut self, pid: u32, calls: u64, minor: u64) {
        let id = ProcessId::new(pid, 5);
        let areas = Some(AreaCount { areas: 30, holes: 1 });
        let living = Living {
            start_ticks: 5,
            group: Belongs { to: "web".into(), founds: true },
            faults: Faults { minor, major: 1 },
            areas,
        };
        self.living.insert(id, living);
        let key = SyscallKey { process: id, syscall: Syscall::Munmap as u32, reserved: 0 };
        let counter = SyscallCounter {
            calls,
            failures: 0,
            bytes: 0,
            duration_ns: calls * 1000,
            durations: Default::default(),
        };
        self.counters.syscalls.insert(key, counter);
    }

    fn cpu(&mut self, pid: u32, class: CpuClass, samples: u64) {
        self.counters.cpu.insert(CpuKey { process: ProcessId::new(pid, 5), class }, samples);
    }
}

#[test]
fn groups_by_what_they_did_since() {
    let mut world = World::default();
    world.group("idle", 1_000_000, 900 * SECOND).processes = 3;
    world.group("busy", 10, 0).minor_faults = 100;
    assert_eq!(world.step(7 * SECOND), None, "no interval yet");
    let busy = world.group("busy", 30, SECOND);
    (busy.minor_faults, busy.major_faults, busy.fault_seconds) = (150, 10, Some(0.5));
    busy.cpu_samples =
        [("user", 500), ("munmap", 90), ("fault", 108), ("other_kernel", 700)].into();
    busy.areas = Some(AreaTotals { largest: 77, sum: 80, most_holes: 1 });
    world.group("new", 8, 0).processes = 1;
    let interval = world.step(9 * SECOND).expect("two seconds");
    assert_eq!(interval.seconds, 2.0);
    let names: Vec<_> = interval.groups.iter().map(|group| &*group.name).collect();
    assert_eq!(names, ["busy", "new", "idle"]);
    let [busy, new, idle] = [0, 1, 2].map(|index| &interval.groups[index]);
    let truth = Rates { calls: 10.0, faults: 30.0, major_faults: 5.0, time: 0.75, cpu: Some(1.0) };
    assert_eq!((busy.rates, busy.areas), (truth, Some(77)));
    assert_eq!((new.rates.calls, new.areas, new.processes), (4.0, None, 1));
    let nothing = Rates { cpu: Some(0.0), ..Rates::default() };
    assert_eq!((idle.rates, idle.processes), (nothing, 3));
    assert_eq!(world.step(9 * SECOND), None, "no time has passed");
}

#[test]
fn processes_by_what_they_did_since() {
    let mut world = World::default();
    world.process(1, 1000, 1000);
    world.process(2, 0, 1000);
    world.process(4, 7, 7);
    world.step(SECOND);
    world.process(1, 1010, 1000);
    world.process(2, 0, 1200);
    world.process(3, 40, 0);
    world.cpu(2, CpuClass::Kernel("fault"), 99);
    world.cpu(2, CpuClass::User, 990);
    world.cpu(2, CpuClass::Kernel("other_kernel"), 990);
    let timed = FaultTime { samples: 10, duration_ns: SECOND / 20 };
    world.counters.fault_times.insert(ProcessId::new(2, 5), timed);
    let interval = world.step(3 * SECOND).expect("two seconds");
    let pids: Vec<_> = interval.processes.iter().map(|one| one.process.pid).collect();
    assert_eq!(pids, [2, 3, 1], "who did nothing is left out");
    let [second, third, first] = [0, 1, 2].map(|index| &interval.processes[index]);
    assert_eq!(second.rates.faults, 100.0);
    assert_eq!((second.rates.time, second.rates.cpu), (0.5, Some(0.5)));
    // It is new, and its one major fault with it.
    assert_eq!((third.rates.calls, third.rates.major_faults), (20.0, 0.5));
    assert_eq!((&*first.comm, &*first.group, first.areas), ("comm1", "web", Some(30)));
    assert_eq!((first.rates.calls, first.rates.time), (5.0, 5e-6));
}

#[test]
fn the_worst_processes_are_kept_and_no_more() {
    let mut world = World::default();
    world.step(SECOND);
    for pid in 1..=300 {
        world.process(pid, u64::from(pid), 0);
    }
    let interval = world.step(2 * SECOND).expect("a second");
    let pids: Vec<_> = interval.processes.iter().map(|one| one.process.pid).collect();
    assert_eq!(pids, (201..=300).rev().collect::<Vec<_>>());
}

#[test]
fn a_process_that_is_not_measured_by_samples_is_still_told() {
    let unknown = Rates { time: 0.25, cpu: None, ..Rates::default() };
    let sampled = Rates { time: 0.25, cpu: Some(0.5), ..Rates::default() };
    assert_eq!((unknown.cost(), sampled.cost()), (0.25, 0.5));
}
