#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

/// What the probes take at a hit, and what it is thought to be.
const HIT: f64 = 0.6e-6;
const PRICE: f64 = 0.8e-6;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A busy thread that takes a block and gives it back every `every` seconds of its own, watched for so long.
fn moment(load: Load, every: f64, length: f64) -> Moment {
    let hits_of_pair = if load == Load::Whole { 2.0 } else { 1.0 };
    let pairs = (length / (every + hits_of_pair * HIT)) as u64;
    let hits = match load {
        Load::Whole => Hits { asking: pairs, back: pairs },
        Load::Asking => Hits { asking: pairs, back: 0 },
        Load::Back => Hits { asking: 0, back: pairs },
    };
    let calls = if load == Load::Whole { 2 * pairs } else { 0 };
    let price = seconds((hits.asking + hits.back) as f64 * PRICE);
    Moment {
        length: seconds(length),
        before: 9 * seconds(length),
        calls,
        cpu: seconds(length),
        hits,
        price,
    }
}

fn watched(every: f64, loads: &[Load]) -> Moments {
    let mut moments = Moments::default();
    for (number, load) in loads.iter().enumerate() {
        moments.add(*load, &moment(*load, every, 0.02 + 1e-4 * (number % 3) as f64));
    }
    moments
}

const ALL: [Load; 8] = [
    Load::Whole,
    Load::Asking,
    Load::Whole,
    Load::Back,
    Load::Whole,
    Load::Asking,
    Load::Whole,
    Load::Back,
];

#[test]
fn halves_tell_what_the_probes_take() {
    let moments = watched(2e-6, &ALL);
    assert!(moments.want_halves());
    let rate = moments.rate(seconds(10.0), seconds(9.0)).unwrap();
    let estimate = rate.estimate.unwrap();
    assert!((estimate / 0.9e6 - 1.0).abs() < 0.001, "{rate:?}");
    // 5 % of the 1.2 µs of the probes in 2 µs, and a little less with what is known of the price.
    assert!((rate.low / estimate - 0.97 / 1.03).abs() < 0.005, "{rate:?}");
    assert!((rate.high.unwrap() / estimate - 1.03 / 0.97).abs() < 0.005, "{rate:?}");
}

#[test]
fn without_halves_the_price_has_to_do() {
    let rate = watched(4e-6, &[Load::Whole; 5]).rate(seconds(10.0), seconds(10.0)).unwrap();
    let (low, high) = (rate.low, rate.high.unwrap());
    assert!(low < 0.5e6 && high > 0.5e6 && low > 0.4e6 && high < 0.6e6, "{rate:?}");
}

#[test]
fn a_program_that_does_nothing_else_has_a_lower_bound() {
    let moments = watched(16e-9, &[Load::Whole; 5]);
    assert!(!moments.want_halves());
    let rate = moments.rate(seconds(10.0), seconds(10.0)).unwrap();
    assert_eq!((rate.estimate, rate.high), (None, None));
    assert!(rate.low > 1.5e6 && rate.low < 1e9 / 8.0, "{rate:?}");
}

#[test]
fn one_that_gives_nothing_back_has_no_halves() {
    let mut moments = Moments::default();
    for _ in 0..3 {
        let hits = Hits { asking: 1000, back: 10 };
        moments.add(Load::Whole, &Moment { hits, ..moment(Load::Whole, 4e-6, 0.02) });
    }
    assert!(!moments.want_halves());
}

#[test]
fn the_interval_is_as_wide_as_the_moments_differ() {
    let mut moments = Moments::default();
    for calls in [900, 1100, 1000, 950, 1050] {
        let (cpu, hits, price) = (seconds(0.01), Hits::default(), Duration::ZERO);
        moments.add(Load::Whole, &Moment { length: cpu, before: 9 * cpu, calls, cpu, hits, price });
    }
    let rate = moments.rate(seconds(1.0), seconds(1.0)).unwrap();
    // The standard error of calls is 79.06 / sqrt(5) = 35.36 of 1,000; times 2.776.
    assert!((0.97 * 1e5 / rate.low - 1.0982).abs() < 1e-4, "{rate:?}");
    assert!((1.03 * 1e5 / rate.high.unwrap() - 0.9018).abs() < 1e-4, "{rate:?}");
}

/// A program that is busy calling for a second, and busy with other things for the next; when it calls, the
/// probes stay out for long.
#[test]
fn a_moment_stands_for_the_time_before_it() {
    let mut moments = Moments::default();
    let (length, hits, price) = (seconds(0.02), Hits::default(), Duration::ZERO);
    for _ in 0..5 {
        for _ in 0..2 {
            let before = seconds(0.48);
            let calls = 2000;
            moments.add(Load::Whole, &Moment { length, before, calls, cpu: length, hits, price });
        }
        for _ in 0..20 {
            let before = seconds(0.03);
            moments
                .add(Load::Whole, &Moment { length, before, calls: 0, cpu: length, hits, price });
        }
    }
    let rate = moments.rate(seconds(10.0), seconds(10.0)).unwrap();
    assert!((rate.estimate.unwrap_or(50_000.0) - 50_000.0).abs() < 1.0, "{rate:?}");
}

#[test]
fn calls_while_probes_were_in_are_counted_as_they_were() {
    let mut moments = watched(2e-6, &ALL);
    let before = moments.rate(seconds(10.0), seconds(10.0)).unwrap().estimate.unwrap();
    // A second with one half of the probes: 1 / 2.6 µs pairs, of two calls each.
    moments.slowed(Load::Asking, seconds(1.0), Hits { asking: 384_615, back: 0 });
    let after = moments.rate(seconds(10.0), seconds(10.0)).unwrap().estimate.unwrap();
    assert!((before - after - (100_000.0 - 76_923.0)).abs() < 100.0, "{before} {after}");
}

#[test]
fn two_ways_that_differ_leave_doubt() {
    let [one, other] = [(1.0, 0.3), (1.0, 0.4)].map(|(likely, error)| OwnTime { likely, error });
    let both = one.and(other);
    assert!((both.likely - 1.0).abs() < 1e-9 && (both.error - 0.24).abs() < 1e-9, "{both:?}");
    let far = OwnTime { likely: 2.5, ..other };
    assert!((one.and(far).error - 3.0 * 0.24).abs() < 1e-9);
}

#[test]
fn one_moment_tells_nothing() {
    assert_eq!(watched(1e-6, &[Load::Whole]).rate(seconds(1.0), seconds(1.0)), None);
    assert_eq!(Moments::default().rate(seconds(1.0), seconds(1.0)), None);
    assert_eq!(watched(1e-6, &[Load::Whole]).rate(Duration::ZERO, Duration::ZERO), None);
}
