//! Numbers and foreign text as people read them.

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A size: `516 KiB`, `2 MiB`, `1.5 GiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        // A size that is no round number of the larger unit keeps its usual name: 1032 KiB.
        let round = (value / 1024.0).fract() == 0.0;
        if value < 1024.0 || (value < 10240.0 && value.fract() == 0.0 && !round) {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    let text = if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{} {unit}", text.trim_end_matches(".0"))
}

/// A time: `850 ns`, `1.2 µs`, `34 ms`, `12.3 s`.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "unknown".to_owned();
    }
    let (value, unit) = match seconds.abs() {
        magnitude if magnitude >= 0.9995 => (seconds, "s"),
        magnitude if magnitude >= 0.999_5e-3 => (seconds * 1e3, "ms"),
        magnitude if magnitude >= 0.999_5e-6 => (seconds * 1e6, "µs"),
        0.0 => (0.0, "s"),
        _ => (seconds * 1e9, "ns"),
    };
    if value == 0.0 || value.abs() >= 99.95 {
        format!("{value:.0} {unit}")
    } else if value.abs() >= 9.995 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.2} {unit}")
    }
}

/// A time that is an extrapolation: `40.0 s`, `12 minutes`, `3 days`.
#[must_use]
pub fn rough_time(seconds_left: f64) -> String {
    const DAY: f64 = 86_400.0;
    let (unit, name) = match seconds_left {
        left if !left.is_finite() || left < 120.0 => return seconds(left),
        left if left < 7200.0 => (60.0, "minutes"),
        left if left < 2.0 * DAY => (3600.0, "hours"),
        _ => (DAY, "days"),
    };
    format!("{:.0} {name}", seconds_left / unit)
}

/// A count with its thousands set apart: `12,345`.
#[must_use]
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of events, or of events in a second: `2,000`, `12.5`, `0.03`.
#[must_use]
pub fn number(number: f64) -> String {
    if !number.is_finite() {
        "unknown".to_owned()
    } else if number.abs() >= 100.0 || number == 0.0 {
        count(number.round().max(0.0) as u64)
    } else if number.abs() >= 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    }
}

/// A share: `34 %`, `2.4 %`, `<0.1 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    if !value.is_finite() {
        "unknown".to_owned()
    } else if value > 0.0 && value < 0.1 {
        "<0.1 %".to_owned()
    } else if value == 0.0 || value.abs() >= 9.95 {
        format!("{value:.0} %")
    } else {
        format!("{value:.1} %")
    }
}

/// Text that somebody else wrote, on one line and without power over a terminal: control
/// characters and those that reverse the direction of writing become escape sequences.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || reorders(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// The first `limit` characters of a text, with an ellipsis where some are missing.
#[must_use]
pub fn shortened(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn reorders(character: char) -> bool {
    matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_their_usual_names() {
        for (size, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (528_384, "516 KiB"),
            (1_056_768, "1032 KiB"),
            (2 << 20, "2 MiB"),
            ((2 << 20) + 4096, "2052 KiB"),
            ((33 << 20) + 4096, "33 MiB"),
            (3 << 29, "1536 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn times_and_numbers() {
        assert_eq!(seconds(0.0), "0 s");
        assert_eq!(seconds(850e-9), "850 ns");
        assert_eq!(seconds(1.2e-6), "1.20 µs");
        assert_eq!(seconds(0.034), "34.0 ms");
        assert_eq!(seconds(12.34), "12.3 s");
        assert_eq!(seconds(f64::NAN), "unknown");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(number(2000.4), "2,000");
        assert_eq!(percent(0.0004), "<0.1 %");
        assert_eq!(percent(0.024), "2.4 %");
        assert_eq!(percent(0.34), "34 %");
    }

    #[test]
    fn rough_times() {
        assert_eq!(rough_time(40.0), "40.0 s");
        assert_eq!(rough_time(600.0), "10 minutes");
        assert_eq!(rough_time(90_000.0), "25 hours");
        assert_eq!(rough_time(604_800.0), "7 days");
        assert_eq!(rough_time(f64::INFINITY), "unknown");
    }

    #[test]
    fn hostile_text_loses_its_power() {
        assert_eq!(escaped("a\x1b[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(escaped("x\u{202e}y\u{9b}"), "x\\u{202e}y\\u{9b}");
        assert_eq!(escaped("größe"), "größe");
        assert_eq!(shortened("größe", 3), "grö…");
        assert_eq!(shortened("größe", 5), "größe");
    }
}
