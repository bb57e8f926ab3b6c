//! Values as people write them, on the command line and in the file. What is refused comes with what to
//! give instead.

use std::{ops::RangeInclusive, time::Duration};

use crate::session::Budget;

/// A machine with thousands of processes takes tens of milliseconds to sample.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// What putting probes in and out takes should be little of a window; and who wants to wait for hours?
const WINDOWS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// A look takes ten seconds of tracing, and what it finds should not be older than a day.
const LOOKS: RangeInclusive<Duration> = Duration::from_secs(30)..=Duration::from_secs(24 * 3600);

/// A number with `ms`, `s`, `m` or `h` behind it; seconds without.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: f64 =
        digits.parse().map_err(|_| "not a number; give 500ms, 5s or 1m".to_owned())?;
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("{unit} is no unit; use ms, s, m or h")),
    };
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}

/// Time between samples.
pub fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < SHORTEST_INTERVAL {
        return Err("shorter than 100ms, which takes too much; give a longer time".to_owned());
    }
    Ok(interval)
}

/// The length of a window over an allocator.
pub fn window(text: &str) -> Result<Duration, String> {
    let window = duration(text)?;
    let fits = WINDOWS.contains(&window);
    if fits { Ok(window) } else { Err("not between 1s and 1h; give a time between".to_owned()) }
}

/// How long a group is left alone after a closer look; no time at all: nobody is looked at.
pub fn look_again(text: &str) -> Result<Duration, String> {
    let rest = duration(text)?;
    let fits = rest.is_zero() || LOOKS.contains(&rest);
    let refusal = || "not 0s, and not between 30s and 24h; give a time between".to_owned();
    fits.then_some(rest).ok_or_else(refusal)
}

/// The age at which a process may begin a group.
pub fn minimum_age(text: &str) -> Result<Duration, String> {
    duration(text)
}

/// A percentage.
pub fn budget(text: &str) -> Result<Budget, String> {
    let share = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let budget = share.and_then(|percent| Budget::new(percent / 100.0));
    budget.ok_or_else(|| "not a percentage above 0 and up to 100; give it as in 1%".to_owned())
}

/// An address or a name, and a port.
pub(super) fn address(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':');
    let fits = parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    let refusal = || "not ADDRESS:PORT; give it as in 127.0.0.1:9435 or [::1]:9435".to_owned();
    fits.then(|| text.to_owned()).ok_or_else(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, millis) in [("30s", 30_000), ("500ms", 500), ("2", 2000), ("1.5m", 90_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-1s", "5 parsecs", "1e400s", "NaN", "inf"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn intervals_and_windows_are_within_reason() {
        assert!(interval("100ms").is_ok() && interval("99ms").is_err());
        assert!(window("1s").is_ok() && window("1h").is_ok());
        assert!(window("999ms").is_err() && window("61m").is_err());
    }

    #[test]
    fn looks_are_seldom_or_never() {
        assert!(look_again("0").is_ok() && look_again("30s").is_ok() && look_again("24h").is_ok());
        assert!(look_again("29s").is_err() && look_again("25h").is_err());
    }

    #[test]
    fn budgets_are_percentages() {
        assert_eq!(budget("1%").ok(), Budget::new(0.01));
        assert_eq!(budget("100%").ok(), Budget::new(1.0));
        for text in ["", "1", "0%", "101%", "-1%", "NaN%", "much"] {
            assert!(budget(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_have_ports() {
        for text in ["127.0.0.1:9435", "[::1]:0", "localhost:80"] {
            assert_eq!(address(text).as_deref(), Ok(text));
        }
        for text in ["", "9435", ":9435", "localhost", "localhost:http", "a:65536"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
