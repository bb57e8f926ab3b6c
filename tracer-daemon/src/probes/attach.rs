//! Loads the kernel programs and climbs each signal's ladder. Every outcome is data.

use std::{collections::HashMap, error::Error as StdError};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel, include_bytes_aligned,
    programs::ProgramError,
};
use tracer_common::ExactSizes;

use super::{
    catalog::{Backend, CATALOG, Rung, Signal},
    rung,
    settings::{Choice, Settings},
    uprobe_multi::UprobeMulti,
};
use crate::{
    aggregate::snapshot::{ATTACHED, ProbeStatus, unmeasured},
    error::Error,
};

/// The compiled kernel programs.
pub static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));

/// What is loaded.
pub struct Programs {
    /// The programs and their maps.
    pub ebpf: Ebpf,
    /// The allocator's programs by name, where one link carries all probes of each.
    pub multi: HashMap<&'static str, UprobeMulti>,
}

/// Loaded programs and what became of each signal. Dropping it detaches everything.
pub struct Attached {
    /// The programs.
    pub programs: Programs,
    /// A row for each signal that was wanted.
    pub signals: Vec<ProbeStatus>,
}

impl Attached {
    /// Whether a signal is carried by this backend.
    #[must_use]
    pub fn uses(&self, signal: &str, backend: Backend) -> bool {
        let carries = |row: &ProbeStatus| row.backend.as_deref() == Some(backend.name());
        self.signals.iter().any(|row| row.signal == signal && carries(row))
    }

    /// Whether a signal is measured.
    #[must_use]
    pub fn has(&self, signal: &str) -> bool {
        let is_it = |row: &ProbeStatus| row.signal == signal && row.backend.is_some();
        self.signals.iter().any(is_it)
    }

    /// The row of a signal that was wanted.
    pub fn row(&mut self, signal: &str) -> Option<&mut ProbeStatus> {
        self.signals.iter_mut().find(|row| row.signal == signal)
    }

    /// Signals that could not be attached, as a line for each reason.
    pub fn failures(&self) -> impl Iterator<Item = String> {
        unmeasured(&self.signals).into_iter().map(|(names, reason)| {
            let is = if names.len() == 1 { "is" } else { "are" };
            let reason = reason.unwrap_or("no rung may be used");
            format!("{} {is} not measured: {reason}", names.join(", "))
        })
    }

    /// Fails if nothing can be measured at all.
    ///
    /// # Errors
    /// With the reason of the first signal.
    pub fn check(&self) -> Result<(), Error> {
        if self.signals.iter().any(|signal| signal.backend.is_some()) {
            return Ok(());
        }
        let reason = self.signals.first().and_then(|signal| signal.reason.as_deref());
        Err(Error::NotPermitted(format!(
            "no probe can be attached ({}); see alloctrace doctor",
            reason.unwrap_or("no rung may be used")
        )))
    }
}

/// Creates the maps, without attaching anything.
///
/// # Errors
/// When the kernel refuses the maps.
pub fn load(settings: &Settings) -> Result<Ebpf, EbpfError> {
    let log_level: u8 = if settings.verbose { log::Level::Debug as u8 } else { 0 };
    let threads = settings.processes.saturating_mul(4).max(16384);
    let mut loader = EbpfLoader::new();
    for per_process in ["SYSCALLS", "ERRNOS", "LOCK_WAITS"] {
        loader.map_max_entries(per_process, settings.processes.saturating_mul(8));
    }
    for per_process in ["FAULT_TIMES", "FUTEX_WAITS", "LIFECYCLES", "LOOKUPS", "EXITS"] {
        loader.map_max_entries(per_process, settings.processes.saturating_mul(2));
    }
    if settings.config.whole_machine == 0 {
        let shards = settings.config.exact_size_mask + 1;
        loader.map_max_entries("EXACT_SIZES", shards * ExactSizes::SHARD);
    } else {
        // Probes on allocators are not for whole machines.
        loader.map_max_entries("BLOCKS", 1).map_max_entries("EXACT_SIZES", 1);
    }
    loader
        .map_max_entries("TARGETS", settings.processes)
        .map_max_entries("THREADS", threads)
        .map_max_entries("EVENTS", settings.ring_bytes)
        .override_global("LAYOUT", &settings.layout, true)
        .override_global("CONFIG", &settings.config, true)
        .override_global(aya_log::LEVEL, &log_level, false)
        .verifier_log_level(VerifierLogLevel::DEBUG)
        .load(OBJECT)
}

/// Attaches what `wanted` says, each signal by the best rung that works.
pub fn attach(ebpf: Ebpf, settings: &Settings, wanted: impl Fn(&Signal) -> bool) -> Attached {
    let btf = Btf::from_sys_fs().ok();
    let mut programs = Programs { ebpf, multi: HashMap::new() };
    let signals = CATALOG.iter().filter(|signal| wanted(signal));
    let signals = signals.map(|signal| climb(&mut programs, signal, settings, btf.as_ref()));
    let signals = signals.collect();
    Attached { programs, signals }
}

/// Tries every rung of every signal, one after the other, and leaves none attached. The third
/// part of a row is the kernel's refusal.
pub fn survey(
    ebpf: Ebpf,
    settings: &Settings,
) -> Vec<(&'static Signal, &'static Rung, Option<String>)> {
    let btf = Btf::from_sys_fs().ok();
    let mut programs = Programs { ebpf, multi: HashMap::new() };
    let mut rows = Vec::new();
    for signal in CATALOG {
        for rung in signal.rungs {
            let refusal = rung::attach(&mut programs, rung, settings, btf.as_ref()).err();
            rows.push((signal, rung, refusal.map(|error| one_line(&*error))));
            rung::detach(&mut programs, rung.probes);
        }
    }
    rows
}

/// Tries a signal's rungs from the best down.
fn climb(
    programs: &mut Programs,
    signal: &Signal,
    settings: &Settings,
    btf: Option<&Btf>,
) -> ProbeStatus {
    let choice = settings.forced.get(signal.name);
    let mut refusals = Vec::new();
    for rung in settings.order(signal) {
        if !settings.may_use(choice, rung.backend) {
            continue;
        }
        if let Some(why) = settings.unfit(rung) {
            refusals.push(format!("{}: {why}", rung.backend));
            continue;
        }
        match rung::attach(programs, rung, settings, btf) {
            Ok(()) => {
                return ProbeStatus {
                    signal: signal.name.to_owned(),
                    backend: Some(rung.backend.name().to_owned()),
                    status: ATTACHED.to_owned(),
                    reason: (!refusals.is_empty()).then(|| refusals.join("; ")),
                };
            }
            Err(error) => refusals.push(format!("{}: {}", rung.backend, one_line(&*error))),
        }
    }
    let (status, reason) = match choice {
        Some(Choice::Off) => ("off", "left out by --backend".to_owned()),
        _ => ("failed", refusals.join("; ")),
    };
    ProbeStatus {
        signal: signal.name.to_owned(),
        backend: None,
        status: status.to_owned(),
        reason: Some(reason),
    }
}

/// An error and its causes in one line; a verifier's log keeps its last line, which says why.
fn one_line(error: &(dyn StdError + 'static)) -> String {
    if let Some(ProgramError::LoadError { io_error, verifier_log }) = error.downcast_ref() {
        let log = verifier_log.to_string();
        let why = log.lines().rfind(|line| !line.starts_with("processed"));
        return match why {
            Some(why) => format!("{io_error}: {why}"),
            None => io_error.to_string(),
        };
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text.lines().next().unwrap_or_default().to_owned()
}
