//! Rates for programs: the same fields in the daemon's answers and in what `top` prints.

use serde::Serialize;
use tracer_common::TICK_NS;

use crate::aggregate::rates::{GroupRates, ProcessRates, Rates};

/// A group.
#[derive(Serialize)]
pub struct Group<'a> {
    group: &'a str,
    processes: u64,
    areas: Option<u64>,
    #[serde(flatten)]
    rates: Rates,
}

/// A process.
#[derive(Serialize)]
pub struct Process<'a> {
    pid: u32,
    /// Seconds after boot.
    start_time: f64,
    comm: &'a str,
    group: &'a str,
    areas: Option<u64>,
    #[serde(flatten)]
    rates: Rates,
}

impl<'a> From<&'a GroupRates> for Group<'a> {
    fn from(group: &'a GroupRates) -> Self {
        let GroupRates { name, processes, areas, rates } = group;
        Self { group: name, processes: *processes, areas: *areas, rates: *rates }
    }
}

impl<'a> From<&'a ProcessRates> for Process<'a> {
    fn from(one: &'a ProcessRates) -> Self {
        Self {
            pid: one.process.pid,
            start_time: one.process.start_ticks as f64 * TICK_NS as f64 / 1e9,
            comm: &one.comm,
            group: &one.group,
            areas: one.areas,
            rates: one.rates,
        }
    }
}
