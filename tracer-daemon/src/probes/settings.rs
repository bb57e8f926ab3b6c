//! How the kernel programs are to be loaded.

use std::{collections::BTreeMap, num::NonZero, thread::available_parallelism};

use tracer_common::{Config, ExactSizes, KernelLayout};

use super::catalog::{Backend, CATALOG, Point, Rung, Signal};
use crate::kernel;

/// Faults per sample. A prime: a loop of any other number of faults is sampled at each of them.
pub const FAULT_PERIOD: u32 = 11;

/// A busy CPU writes 24 kB of samples each second, and the daemon takes them out twice as often.
const RING_BYTES_PER_CPU: u32 = 32 << 10;

/// Everything the kernel programs are told when they are loaded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The programs' behaviour.
    pub config: Config,
    /// Where this kernel keeps what they read.
    pub layout: KernelLayout,
    /// What the user insists on, by signal.
    pub forced: Forced,
    /// Whether the kernel can take the CPU from a thread inside a kernel program.
    pub preempts: bool,
    /// Processes that the maps have room for.
    pub processes: u32,
    /// Bytes of the ring buffer; a power of two.
    pub ring_bytes: u32,
    /// Whether the programs' own diagnostics are wanted.
    pub verbose: bool,
}

impl Settings {
    /// For chosen processes, with records.
    #[must_use]
    pub fn targets(layout: KernelLayout) -> Self {
        let preempts = kernel::preempts();
        Self {
            config: Config {
                whole_machine: 0,
                fault_period: FAULT_PERIOD,
                first_stacks: 64,
                stack_period: 256,
                lookup_period: 512,
                may_wake: u32::from(!preempts),
                exact_size_mask: exact_size_shards() - 1,
            },
            layout,
            forced: Forced::default(),
            preempts,
            processes: 8192,
            ring_bytes: 16 << 20,
            verbose: false,
        }
    }

    /// For every process: counts, and as records the CPU samples of `cpus` CPUs only.
    #[must_use]
    pub fn whole_machine(layout: KernelLayout, cpus: u32) -> Self {
        let targets = Self::targets(layout);
        Self {
            config: Config { whole_machine: 1, ..targets.config },
            processes: 16384,
            ring_bytes: cpus.saturating_mul(RING_BYTES_PER_CPU).next_power_of_two(),
            ..targets
        }
    }

    /// Whether a backend is to be tried: the one that the user insists on, else every one that
    /// serves a purpose on this kernel.
    #[must_use]
    pub fn may_use(&self, choice: Option<Choice>, backend: Backend) -> bool {
        match choice {
            Some(Choice::Only(forced)) => forced == backend,
            Some(Choice::Off) => false,
            None => backend != Backend::Fexit || self.preempts,
        }
    }

    /// The rungs of a signal in the order in which they are to be tried on this kernel.
    pub fn order(&self, signal: &Signal) -> Vec<&'static Rung> {
        let mut rungs: Vec<_> = signal.rungs.iter().collect();
        if self.preempts && signal.entries_only {
            // Stable: the others keep their order.
            rungs.sort_by_key(|rung| rung.backend != Backend::Kprobe);
        }
        rungs
    }

    /// Why a rung is left out although it may work. On perf's event every fault of the machine
    /// pays for a few samples, and those tell no time.
    #[must_use]
    pub fn unfit(&self, rung: &Rung) -> Option<&'static str> {
        let slows_faults = rung.probes.iter().any(|probe| probe.point == Point::PageFaults);
        (self.config.whole_machine != 0 && slows_faults).then_some(
            "left out, for it would slow every fault of the machine and tell no time; \
             faults are counted all the same, from /proc and at the end of processes",
        )
    }
}

/// As many as there are CPUs to count on, roughly: more would take memory, fewer make CPUs wait for each other.
fn exact_size_shards() -> u32 {
    let cpus = available_parallelism().map_or(1, NonZero::get).next_power_of_two();
    u32::try_from(cpus).map_or(ExactSizes::MOST_SHARDS, |cpus| cpus.min(ExactSizes::MOST_SHARDS))
}

/// What the user wants of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This backend and no other.
    Only(Backend),
    /// Not to measure it.
    Off,
}

/// What the user insists on, by signal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forced(BTreeMap<&'static str, Choice>);

impl Forced {
    /// From `SIGNAL=KIND` words; `all=KIND` means every signal that has such a rung, and the kind
    /// `off` is none.
    ///
    /// # Errors
    /// One line for a word that names no signal, no backend, or a rung that does not exist.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut forced = Self::default();
        for word in words {
            forced.add(word).map_err(|why| format!("--backend {why}"))?;
        }
        Ok(forced)
    }

    /// Adds one such word.
    ///
    /// # Errors
    /// As [`Forced::parse`].
    pub fn add(&mut self, word: &str) -> Result<(), String> {
        let (name, kind) = word
            .split_once('=')
            .ok_or_else(|| format!("{word}: expected SIGNAL=KIND, as in mmap=kprobe"))?;
        let choice = match Backend::from_name(kind) {
            Some(backend) => Choice::Only(backend),
            None if kind == "off" => Choice::Off,
            None => {
                return Err(format!("{word}: no backend is called {kind}; see doctor"));
            }
        };
        let has = |signal: &Signal| match choice {
            Choice::Only(backend) => signal.rungs.iter().any(|rung| rung.backend == backend),
            Choice::Off => true,
        };
        let mut known = false;
        for signal in CATALOG.iter().filter(|signal| name == "all" || signal.name == name) {
            if has(signal) {
                self.0.insert(signal.name, choice);
                known = true;
            }
        }
        if known {
            Ok(())
        } else {
            Err(format!("{word}: no such signal, or not by {kind}; see doctor"))
        }
    }

    /// What is wanted of `signal`; `None`: whatever works.
    #[must_use]
    pub fn get(&self, signal: &str) -> Option<Choice> {
        self.0.get(signal).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Forced, String> {
        Forced::parse(&words.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn a_word_forces_its_signal_only() {
        let forced = parse(&["mmap=kprobe"]).expect("valid");
        assert_eq!(forced.get("mmap"), Some(Choice::Only(Backend::Kprobe)));
        assert_eq!(forced.get("munmap"), None);
    }

    #[test]
    fn all_reaches_the_signals_that_have_the_rung() {
        let forced = parse(&["all=tracepoint", "mmap=fentry", "madvise=off"]).expect("valid");
        assert_eq!(forced.get("mmap"), Some(Choice::Only(Backend::Fentry)));
        assert_eq!(forced.get("brk"), Some(Choice::Only(Backend::Tracepoint)));
        assert_eq!(forced.get("madvise"), Some(Choice::Off));
        assert_eq!(forced.get("cpu"), None);
    }

    #[test]
    fn nonsense_is_refused() {
        for word in ["mmap", "mmap=magic", "paint=kprobe", "paint=off", "cpu=kprobe"] {
            assert!(parse(&[word]).is_err(), "{word}");
        }
    }
}
