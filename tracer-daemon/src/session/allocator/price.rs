//! What a hit of a probe costs on this machine, measured on code of the tracer's own.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use tracer_common::{AllocationCall, ProbeCost, Site, SiteKey};

use super::links::Program;
use crate::{
    probes::{
        catalog,
        own_code::{self, OwnCode},
    },
    source::KernelMaps,
};

/// Hits in a batch, and batches, whose median counts.
const HITS: u32 = 100;
const BATCHES: usize = 9;

/// What the kernel program does for a call of the target, beyond what it does for the tracer's own:
/// measured at 0.15 to 0.25 microseconds.
const COUNTING: Duration = Duration::from_nanos(250);

/// What a sample adds to that, a copy of 16 KiB: measured at 1.4 microseconds.
const SAMPLED: Duration = Duration::from_nanos(2_000);

/// The price of a hit, by [`ProbeCost`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Prices {
    emulated: Duration,
    stepped: Duration,
}

impl Prices {
    /// Where nothing can be measured: more than on the machines that were looked at.
    const HIGH: Self =
        Self { emulated: Duration::from_nanos(1_500), stepped: Duration::from_nanos(10_000) };

    /// Puts probes into the tracer's own code and runs into them. Nothing may count meanwhile.
    pub(super) fn measure(program: &mut Program<'_>, maps: &mut KernelMaps) -> Self {
        measure(program, maps).unwrap_or_else(|why| {
            log::debug!("a probe's price is not measured: {why}");
            Self::HIGH
        })
    }

    /// What so many hits have cost: of probes whose instruction is emulated, of the others, and samples.
    pub(super) fn of(self, [emulated, stepped, sampled]: [u64; 3]) -> Duration {
        let cost = |hits: u64, each: Duration| hits.saturating_mul(each.as_nanos() as u64);
        let costs =
            [cost(emulated, self.emulated), cost(stepped, self.stepped), cost(sampled, SAMPLED)];
        Duration::from_nanos(costs.into_iter().fold(0, u64::saturating_add))
    }
}

fn measure(program: &mut Program<'_>, maps: &mut KernelMaps) -> Result<Prices, String> {
    let own = OwnCode::find().map_err(|error| error.to_string())?;
    let pid = NonZeroU32::new(std::process::id()).ok_or("the tracer has no pid")?;
    let mut price = |function: extern "C" fn(), offset: u64, cost: ProbeCost| {
        let key = SiteKey { address: function as usize as u64, pid: pid.get(), reserved: 0 };
        let call = AllocationCall::Free as u32;
        let site =
            Site { call, pushed: 0, code_start: 0, code_end: 0, cost: cost as u32, reserved: 0 };
        maps.allocations.add_site(key, site).map_err(|error| error.to_string())?;
        let links = program.put_in(catalog::ALLOCATOR, &own.file, &[offset], pid)?;
        let price = batches(function) + COUNTING;
        std::thread::spawn(move || drop(links));
        Ok::<_, String>(price)
    };
    Ok(Prices {
        emulated: price(own_code::emulated, own.emulated, ProbeCost::Emulated)?,
        stepped: price(own_code::stepped, own.stepped, ProbeCost::Stepped)?,
    })
}

/// Time for a call, the median of the batches.
fn batches(function: extern "C" fn()) -> Duration {
    let mut times = [Duration::ZERO; BATCHES];
    for time in &mut times {
        let begin = Instant::now();
        (0..HITS).for_each(|_| std::hint::black_box(function)());
        *time = begin.elapsed() / HITS;
    }
    times.sort();
    times[BATCHES / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_have_their_price() {
        let micro = Duration::from_micros;
        let prices = Prices { emulated: micro(1), stepped: micro(9) };
        assert_eq!(prices.of([0, 0, 0]), Duration::ZERO);
        assert_eq!(prices.of([1_000_000, 0, 0]), micro(1_000_000));
        assert_eq!(prices.of([0, 1_000_000, 0]), micro(9_000_000));
        assert_eq!(prices.of([0, 0, 1_000_000]), micro(2_000_000));
        assert!(prices.of([u64::MAX; 3]) > micro(1));
    }
}
