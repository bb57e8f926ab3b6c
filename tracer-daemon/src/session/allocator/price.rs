//! What a hit of a probe costs on this machine, measured on code of the tracer's own.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use tracer_common::{HitCounter, Site, SiteKey};

use super::links::Links;
use crate::{
    probes::{
        attach::Programs,
        catalog,
        own_code::{self, OwnCode},
    },
    source::KernelMaps,
};

/// Hits in a batch, by turns of either kind: half a millisecond altogether.
const HITS: u32 = 30;

/// Batches at the start, after each moment in which calls were counted, and as many as the median is of.
const FIRST: usize = 15;
const MORE: usize = 3;
const KEPT: usize = 301;

/// What the kernel program does for a call of the target, beyond what it does for the tracer's own:
/// measured at nothing to 0.13 microseconds.
const COUNTING: Duration = Duration::from_nanos(150);

/// What a sample adds to that, a copy of 16 KiB: measured at 1.4 microseconds.
const SAMPLED: Duration = Duration::from_nanos(2_000);

/// What probes in the tracer's own code see: nothing, and their hits are not the target's.
const OWN: Site = Site {
    call: Site::NO_CALL,
    pushed: 0,
    code_start: 0,
    code_end: 0,
    counter: HitCounter::ALL.len() as u32,
    has_headers: 0,
    branch: 0,
    sees_branches: 0,
};

/// The price of a hit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prices {
    emulated: Duration,
    stepped: Duration,
}

impl Prices {
    /// Where nothing can be measured: more than on the machines that were looked at.
    const HIGH: Self =
        Self { emulated: Duration::from_nanos(1_500), stepped: Duration::from_nanos(10_000) };

    /// What so many hits have cost, by [`HitCounter`].
    pub(super) fn of(self, hits: [u64; HitCounter::ALL.len()]) -> Duration {
        let prices = [self.emulated, self.stepped, self.emulated, self.stepped, SAMPLED];
        let costs =
            hits.into_iter().zip(prices).map(|(hits, each)| hits as f64 * each.as_secs_f64());
        Duration::from_secs_f64(costs.sum())
    }
}

/// Probes in the tracer's own code, and what it took to run into them. A machine may change its pace at any
/// time, so it is done again and again.
pub(super) struct PriceMeter {
    /// `None`: they could not be put in.
    probes: Option<Links>,
    emulated: VecDeque<Duration>,
    stepped: VecDeque<Duration>,
    /// The medians.
    prices: Prices,
}

impl PriceMeter {
    /// Puts the probes in.
    pub(super) fn start(programs: &mut Programs, maps: &mut KernelMaps) -> Self {
        let probes = put_in(programs, maps);
        if let Err(why) = &probes {
            log::debug!("what a probe costs is not measured: {why}");
        }
        let (emulated, stepped) = (VecDeque::new(), VecDeque::new());
        let mut meter = Self { probes: probes.ok(), emulated, stepped, prices: Prices::HIGH };
        meter.measure(FIRST);
        meter
    }

    /// What hits cost.
    pub(super) const fn prices(&self) -> Prices {
        self.prices
    }

    /// Looks whether it is still the same.
    pub(super) fn measure_again(&mut self) {
        self.measure(MORE);
    }

    fn measure(&mut self, batches: usize) {
        if self.probes.is_none() {
            return;
        }
        for _ in 0..batches {
            for (times, function) in [
                (&mut self.emulated, own_code::emulated as extern "C" fn()),
                (&mut self.stepped, own_code::stepped),
            ] {
                times.truncate(KEPT - 1);
                times.push_front(batch(function) + COUNTING);
            }
        }
        self.prices = Prices { emulated: median(&self.emulated), stepped: median(&self.stepped) };
    }
}

/// Of one time at least.
fn median(times: &VecDeque<Duration>) -> Duration {
    let mut times: Vec<_> = times.iter().copied().collect();
    times.sort();
    times[times.len() / 2]
}

fn put_in(programs: &mut Programs, maps: &mut KernelMaps) -> Result<Links, String> {
    let own = OwnCode::find().map_err(|error| error.to_string())?;
    let pid = NonZeroU32::new(std::process::id()).ok_or("the tracer has no pid")?;
    for function in [own_code::emulated, own_code::stepped] {
        let key = SiteKey { address: function as usize as u64, pid: pid.get(), reserved: 0 };
        maps.allocations.add(key, OWN).map_err(|error| error.to_string())?;
    }
    Links::put_in(programs, catalog::ALLOCATOR, &own.file, &[own.emulated, own.stepped], pid)
}

/// Time for a call.
fn batch(function: extern "C" fn()) -> Duration {
    let begin = Instant::now();
    (0..HITS).for_each(|_| std::hint::black_box(function)());
    begin.elapsed() / HITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_have_their_price() {
        let micro = Duration::from_micros;
        let prices = Prices { emulated: micro(1), stepped: micro(9) };
        let million = 1_000_000;
        assert_eq!(prices.of([0; 5]), Duration::ZERO);
        assert_eq!(prices.of([million, 0, 0, 0, 0]), micro(million));
        assert_eq!(prices.of([0, million, 0, 0, 0]), micro(9 * million));
        assert_eq!(prices.of([0, 0, million, million, million]), micro(12 * million));
        assert!(prices.of([u64::MAX; 5]) > micro(1));
    }
}
