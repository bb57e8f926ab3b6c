//! One attach or run: probes on, records in, and at the end a snapshot.

mod account;
mod address_space;
mod allocator;
mod cost;
mod fault_sampler;
mod files;
mod finish;
mod helper;
mod machine;
mod names;
mod naming;
mod open;
mod options;
mod random;
mod so_far;
mod traced;
mod unwinder;

use std::{
    collections::HashMap,
    fs::File,
    io::BufWriter,
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, Instant},
};

use aya_log::EbpfLogger;
use log::Log;
use tracer_common::{Control, ProcessId, Target};

use address_space::AddressSpaceWatch;
use allocator::AllocatorProbes;
pub use allocator::{Budget, SAMPLING_GAP};
use cost::CostMeter;
use fault_sampler::FaultSampler;
pub use machine::{Chosen, DRAIN_INTERVAL, Grouping, Machine};
use open::Opened;
pub use options::Options;
use traced::Traced;
use unwinder::Unwinder;

use crate::{
    aggregate::state::State,
    census::{ProcRoot, ProcessStat},
    decode::{decode, trimmed},
    error::Error,
    parser,
    probes::{
        attach::{Attached, attach},
        catalog::{self, Backend},
        settings::Settings,
    },
    source::{KernelMaps, Ring, replay},
    symbolize::KernelSymbols,
};

/// Records taken from the ring before anything else gets a turn.
const BATCH: usize = 65_536;

/// Stacks of CPU samples in a snapshot.
const CPU_STACKS: usize = 64;

/// Threads of a process that ends together may all take themselves for the last. An ended process
/// stays a target for so long, for what its other threads leave behind would go uncounted.
const LAST_THREADS: Duration = Duration::from_secs(1);

/// Probes that are attached, and what has come from them so far.
pub struct Session {
    attached: Attached,
    maps: KernelMaps,
    ring: Ring,
    logger: Option<EbpfLogger<&'static dyn Log>>,
    state: State<KernelSymbols>,
    unwinder: Unwinder,
    space: AddressSpaceWatch,
    cost: CostMeter,
    faults: FaultSampler,
    control: Control,
    root: ProcRoot,
    dump: Option<BufWriter<File>>,
    undecodable: u64,
    living: HashMap<ProcessId, ProcessStat>,
    traced: Option<Traced>,
    /// Whether the window begins with an exec.
    from_exec: bool,
    drop_ended_at: Option<Instant>,
    malloc: Option<Budget>,
    allocator: Option<AllocatorProbes>,
}

impl Session {
    /// Loads and attaches the kernel programs. Nothing counts before [`Session::trace`].
    ///
    /// # Errors
    /// When a privilege is missing, or nothing at all can be attached.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let settings = options.settings(Settings::targets(open::layout()?));
        let Opened { mut ebpf, maps, ring, readers } = open::load(&settings)?;
        let logger = options.verbose.then(|| EbpfLogger::init(&mut ebpf).ok()).flatten();
        let attached = attach(ebpf, &settings, |signal| {
            ![catalog::MALLOC, catalog::FUTEX].contains(&signal.name) || options.malloc.is_some()
        });
        attached.check()?;
        let control = open::control(&attached);
        let root = ProcRoot::default();
        let kernel_names = KernelSymbols::read(Path::new("/")).unwrap_or_default();
        Ok(Self {
            attached,
            maps,
            ring,
            logger,
            state: State::new(kernel_names),
            unwinder: Unwinder::start(root.clone(), readers.clone(), parser::command)
                .map_err(|error| Error::Lost(format!("no thread for stacks: {error}")))?,
            space: AddressSpaceWatch::new(readers, options.requests.clone()),
            cost: CostMeter::new(Instant::now()),
            faults: FaultSampler::new(),
            control,
            root,
            dump: options.create_dump()?,
            undecodable: 0,
            living: HashMap::new(),
            traced: None,
            from_exec: false,
            drop_ended_at: None,
            malloc: options.malloc,
            allocator: None,
        })
    }

    /// Signals that could not be attached, as a line for each.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        self.attached.failures()
    }

    /// Why the target's allocator is not being counted.
    ///
    /// # Errors
    /// With the reason, in a line.
    pub fn counts_allocator(&self) -> Result<(), String> {
        if self.allocator.is_some() {
            return Ok(());
        }
        let mut rows = self.attached.signals.iter().filter(|row| row.signal == catalog::MALLOC);
        let reason = rows.find_map(|row| row.reason.as_deref());
        Err(format!("its allocator is not counted: {}", reason.unwrap_or("nobody asked for it")))
    }

    /// Begins to count a process.
    ///
    /// # Errors
    /// When it has ended, or its pid belongs to another process by now.
    pub fn trace(&mut self, found: &ProcessStat, flags: u64) -> Result<(), Error> {
        let pid = found.pid;
        let target = Target { start_ticks: found.start_ticks, flags };
        self.from_exec = flags & Target::FROM_EXEC != 0;
        if self.attached.uses("faults", Backend::Perf) {
            self.faults.start(&mut self.attached.programs.ebpf, &mut self.control);
        }
        self.maps.control(self.control).map_err(unreadable)?;
        if !self.from_exec {
            self.space.begin(&self.root, pid);
            self.trace_allocator(ProcessId::new(pid, found.start_ticks));
        }
        self.maps
            .trace(pid, target)
            .map_err(|error| Error::NotPermitted(format!("cannot trace {pid}: {error}")))?;
        let traced = Traced::begin(&self.root, found)?;
        self.begin_allocator(traced.since);
        self.traced = Some(traced);
        if !self.from_exec {
            self.unwinder.know((ProcessId::new(pid, found.start_ticks), 0));
        }
        Ok(())
    }

    /// Takes in what has come, and looks at the process. To be called every few milliseconds.
    pub fn tick(&mut self) {
        let ended = self.state.ended;
        self.drain();
        let now = Instant::now();
        if self.state.ended != ended {
            self.drop_ended_at.get_or_insert(now + LAST_THREADS);
        }
        if self.drop_ended_at.take_if(|at| now >= *at).is_some()
            && let Err(error) = self.maps.drop_ended_targets()
        {
            log::debug!("ended targets stay on the table: {error}");
        }
        self.unwinder.exchange(&mut self.state.stacks);
        self.state.settle_blocks();
        self.cost.tick(&self.attached.programs.ebpf, now);
        if self.faults.tick(&mut self.attached.programs.ebpf, &mut self.control, now)
            && let Err(error) = self.maps.control(self.control)
        {
            log::debug!("fault samples keep their weight: {error}");
        }
        if self.control.closed == 0 {
            self.ration_allocator(now);
            if let Some(traced) = &mut self.traced {
                traced.look(&self.root, now);
                self.space.tick(&self.root, traced.process, now);
            }
        }
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// What the process is called now: `run` knows only after its exec.
    pub fn refresh_target(&mut self) {
        if let Some(traced) = &mut self.traced {
            traced.refresh(&self.root);
            self.space.begin(&self.root, traced.process.pid);
        }
    }

    /// Becomes readable when there is something that cannot wait for the next tick.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn wake_ups(&self) -> std::io::Result<OwnedFd> {
        self.ring.wake_ups()
    }

    fn drain(&mut self) {
        for _ in 0..BATCH {
            let (state, dump, bad) = (&mut self.state, &mut self.dump, &mut self.undecodable);
            let more = self.ring.with_next(|record| {
                if let Some(file) = dump
                    && let Err(error) = replay::append(file, trimmed(record))
                {
                    log::warn!("the dump ends here: {error}");
                    *dump = None;
                }
                match decode(record) {
                    Ok(event) => state.apply(&event),
                    Err(error) => {
                        log::debug!("{error}");
                        *bad += 1;
                    }
                }
            });
            if more.is_none() {
                return;
            }
        }
    }

    /// Ends the window. The numbers are yet to be read.
    ///
    /// # Errors
    /// When the kernel does not let go of its maps.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.control.closed = 1;
        self.maps.control(self.control).map_err(unreadable)?;
        let now = Instant::now();
        self.living = traced::living(&self.root, self.maps.targets().map_err(unreadable)?);
        if let Some(traced) = &mut self.traced {
            traced.end(&self.root, now);
            self.space.read(&self.root, traced.process);
        }
        self.tick();
        self.cost.end(&self.attached.programs.ebpf, now);
        self.release_allocator();
        Ok(())
    }

    /// How long ago counting began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.traced.as_ref().map_or(Duration::ZERO, |traced| traced.since.elapsed())
    }
}

fn unreadable(error: aya::maps::MapError) -> Error {
    Error::Lost(format!("the kernel does not hand its counters out: {error}"))
}
