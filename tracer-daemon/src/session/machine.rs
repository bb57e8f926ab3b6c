//! The whole machine, sampled: counters of all processes and `/proc` become group totals.

mod areas;
mod cpu;
mod grouping;
mod names;
mod own;
mod programs;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use aya::util::online_cpus;
use tracer_common::{Lookup, ProcessId, Syscall, UNKNOWN_OFFSET};

use self::{areas::Areas, cpu::CpuRecords, names::Names};
pub use self::{grouping::Grouping, names::Chosen};
use super::{
    open::{self, Opened},
    options::Options,
    unreadable,
};
use crate::{
    aggregate::{
        MachineSnapshot,
        allocator_windows::AllocatorTotals,
        counters::Counters,
        groups::{Faults, Groups, Living, Measured},
        looks::Load,
        machine::{ConfigReading, LookTotals},
        rates::{Pace, Standing},
    },
    census::{ProcRoot, ProcessStat, Rule},
    error::Error,
    kernel::{self, privileges},
    probes::{
        attach::{Attached, attach},
        catalog::Signal,
        settings::Settings,
    },
    source::KernelMaps,
};

/// How often [`Machine::drain`] is to be called: the ring has room for twice as long.
pub const DRAIN_INTERVAL: Duration = Duration::from_millis(500);

/// Probes on the whole machine. A sample is taken when [`Machine::sample`] is called, and at no
/// other time.
pub struct Machine {
    attached: Attached,
    maps: KernelMaps,
    root: ProcRoot,
    names: Names,
    areas: Areas,
    cpu: CpuRecords,
    groups: Groups,
    began: Instant,
    pace: Pace,
    kernel: String,
    /// Whether the kernel programs know when a process was forked.
    start_is_known: bool,
}

impl Machine {
    /// Attaches the kernel programs of the signals that are wanted; from then on every process
    /// counts, in its group. Rules choose processes, see [`Machine::chosen`].
    ///
    /// # Errors
    /// When a privilege is missing, or nothing at all can be attached.
    pub fn start(
        options: &Options,
        grouping: Grouping,
        rules: Vec<Rule>,
        wanted: impl Fn(&Signal) -> bool,
    ) -> Result<Self, Error> {
        let layout = open::layout()?;
        let cpus = online_cpus().map_or(1, |cpus| u32::try_from(cpus.len()).unwrap_or(u32::MAX));
        let settings = options.settings(Settings::whole_machine(layout, cpus));
        let Opened { ebpf, mut maps, ring, readers: _readers } = open::load(&settings)?;
        let root = ProcRoot::default();
        let own = root
            .stat(std::process::id())
            .map_err(|error| Error::Usage(format!("/proc is not as it should be: {error}")))?;
        let attached = attach(ebpf, &settings, wanted);
        attached.check()?;
        maps.control(open::control(&attached)).map_err(unreadable)?;
        let calls = Syscall::ALL.into_iter().filter(|call| attached.has(call.name()));
        let lookups = Lookup::ALL.into_iter().filter(|function| attached.has(function.name()));
        let measured = Measured { calls: calls.collect(), lookups: lookups.collect() };
        Ok(Self {
            groups: Groups::new(own.start_ticks, measured, grouping.most),
            pace: Pace::default(),
            cpu: CpuRecords::new(ring),
            names: Names::new(root.clone(), grouping, rules),
            began: Instant::now(),
            areas: Areas::new(root.clone()),
            kernel: kernel::release(),
            start_is_known: layout.task_start_boottime != UNKNOWN_OFFSET,
            attached,
            maps,
            root,
        })
    }

    /// Signals that could not be attached, as a line for each.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        self.attached.failures()
    }

    /// From here on this thread has the privileges that samples take, and not those that attaching took. Programs
    /// that it starts have all of them again.
    pub fn put_down_privileges(&mut self) {
        for wanted in [privileges::TO_READ, privileges::TO_READ_MAPS] {
            if let Err(error) = privileges::wield(wanted) {
                log::warn!("the privileges to attach stay in use: {error}");
                return;
            }
            if self.maps.read().is_ok() {
                return;
            }
        }
    }

    /// Takes CPU samples out of the ring, which would fill up between samples of the machine.
    pub fn drain(&mut self) {
        self.cpu.drain();
    }

    /// The machine as it stands.
    ///
    /// # Errors
    /// When the kernel refuses to hand its counters out.
    pub fn sample(&mut self) -> Result<MachineSnapshot, Error> {
        // In this order: a process that `/proc` shows and that ends meanwhile has left its totals.
        let stats = self.stats();
        let counters = self.counters()?;
        self.areas.look(&stats);
        let living = self.name(stats, &counters);
        let names = &mut self.names;
        let now = self.began.elapsed();
        let ended = self.groups.apply(&counters, &living, now, |exits| names.ended(exits));
        let groups = self.groups.totals();
        let standing = Standing {
            now_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            has_cpu: self.attached.has("cpu"),
            groups: &groups,
            counters: &counters,
            living: &living,
        };
        let interval = self.pace.step(&standing, |id| self.names.comm(id));
        self.names.keep(&living);
        self.maps.forget(&counters, &ended);
        self.cpu.forget(&ended);
        Ok(MachineSnapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: self.kernel.clone(),
            groups,
            interval,
            lost: counters.lost.into_iter().collect(),
            probes: self.attached.signals.clone(),
            area_counting: self.areas.counting(),
            allocator: AllocatorTotals::default(),
            looks: LookTotals::default(),
            config: ConfigReading::default(),
            own: own::usage(&self.root),
            programs: programs::runs(&self.attached.programs.ebpf, &self.root),
        })
    }

    /// From the next sample on processes are in other groups. What was counted stays where it is.
    pub fn regroup(&mut self, grouping: Grouping) {
        self.groups.regroup(grouping.most);
        self.names.regroup(grouping);
    }

    /// From the next sample on other rules choose.
    pub fn choose(&mut self, rules: Vec<Rule>) {
        self.names.choose(rules);
    }

    /// The processes that rules choose, as the last sample found them.
    #[must_use]
    pub fn chosen(&self) -> Vec<Chosen> {
        self.names.chosen()
    }

    /// The processes that may be looked at more closely, as they were in the sample's interval.
    #[must_use]
    pub fn loads(&self, sample: &MachineSnapshot) -> Vec<Load> {
        let interval = sample.interval.iter().flat_map(|interval| &interval.processes);
        let costs: HashMap<_, _> = interval.map(|one| (one.process, one.rates.cost())).collect();
        let limit = self.areas.counting().limit;
        self.names.loads(
            |process| costs.get(&process).copied().unwrap_or(0.0),
            |id| Some(self.areas.of(id)?.areas as f64 / limit? as f64),
        )
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        let mut counters = self.maps.read().map_err(unreadable)?;
        counters.lookups = self.maps.lookups_of_machine().map_err(unreadable)?;
        self.cpu.drain();
        counters.cpu = self.cpu.counts();
        Ok(counters)
    }

    /// Processes that have not ended. One whose main thread alone has ended is none of the dead.
    fn stats(&self) -> HashMap<ProcessId, ProcessStat> {
        let pids = self.root.pids().into_iter();
        pids.filter_map(|pid| self.root.stat(pid).ok())
            .filter(|stat| stat.state != 'X' && (stat.state != 'Z' || stat.threads > 1))
            .map(|stat| (self.id(&stat), stat))
            .collect()
    }

    /// The process as the kernel programs call it.
    fn id(&self, stat: &ProcessStat) -> ProcessId {
        let start_ticks = if self.start_is_known { stat.start_ticks } else { 0 };
        ProcessId::new(stat.pid, start_ticks)
    }

    fn name(
        &mut self,
        stats: HashMap<ProcessId, ProcessStat>,
        counters: &Counters,
    ) -> HashMap<ProcessId, Living> {
        let named = stats.into_iter().map(|(id, stat)| {
            let execs = counters.lifecycles.get(&id).map_or(0, |life| life.execs);
            let living = Living {
                start_ticks: stat.start_ticks,
                faults: Faults { minor: stat.minor_faults, major: stat.major_faults },
                group: self.names.of(id, stat, execs, counters.exits.get(&id)),
                areas: self.areas.of(id),
            };
            (id, living)
        });
        named.collect()
    }
}
