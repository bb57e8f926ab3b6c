//! The whole machine, sampled: counters of all processes and `/proc` become group totals.

mod areas;
mod names;
mod own;
mod programs;

use std::collections::HashMap;

use tracer_common::{ProcessId, Syscall, UNKNOWN_OFFSET};

use self::{areas::Areas, names::Names};
use super::{
    open::{self, Opened},
    options::Options,
    unreadable,
};
use crate::{
    aggregate::{
        MachineSnapshot,
        counters::Counters,
        groups::{Faults, Groups, Living},
    },
    census::{ProcRoot, ProcessStat},
    error::Error,
    kernel,
    probes::{
        attach::{Attached, attach},
        catalog::Signal,
        settings::Settings,
    },
    source::KernelMaps,
};

/// Probes on the whole machine. A sample is taken when [`Machine::sample`] is called, and at no
/// other time.
pub struct Machine {
    attached: Attached,
    maps: KernelMaps,
    root: ProcRoot,
    names: Names,
    areas: Areas,
    groups: Groups,
    kernel: String,
    /// Whether the kernel programs know when a process was forked.
    start_is_known: bool,
}

impl Machine {
    /// Attaches the kernel programs; from then on every process counts.
    ///
    /// # Errors
    /// When a privilege is missing, or nothing at all can be attached.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let layout = open::layout()?;
        let settings = options.settings(Settings::whole_machine(layout));
        // The programs refer to the ring by its descriptor until they are loaded, although they
        // write nothing for a whole machine.
        let Opened { ebpf, mut maps, ring: _ring, readers: _readers } = open::load(&settings)?;
        let root = ProcRoot::default();
        let own = root
            .stat(std::process::id())
            .map_err(|error| Error::Usage(format!("/proc is not as it should be: {error}")))?;
        let attached = attach(ebpf, &settings, |signal: &Signal| signal.whole_machine);
        attached.check()?;
        maps.control(open::control(&attached)).map_err(unreadable)?;
        let measured = Syscall::ALL.into_iter();
        let measured = measured.filter(|call| attached.has(call.name()));
        Ok(Self {
            groups: Groups::new(own.start_ticks, measured.collect()),
            names: Names::new(root.clone()),
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

    /// The machine as it stands.
    ///
    /// # Errors
    /// When the kernel refuses to hand its counters out.
    pub fn sample(&mut self) -> Result<MachineSnapshot, Error> {
        // In this order: a process that `/proc` shows and that ends meanwhile has left its totals.
        let stats = self.stats();
        let counters = self.maps.read().map_err(unreadable)?;
        self.areas.look(&stats);
        let living = self.name(stats, &counters);
        let names = &mut self.names;
        let ended = self.groups.apply(&counters, &living, |exits| names.ended(exits));
        self.names.keep(&living);
        self.maps.forget(&counters, &ended);
        Ok(MachineSnapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: self.kernel.clone(),
            groups: self.groups.totals(),
            lost: counters.lost.into_iter().collect(),
            probes: self.attached.signals.clone(),
            area_counting: self.areas.counting(),
            own: own::usage(&self.root),
            programs: programs::runs(&self.attached.ebpf, &self.root),
        })
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
