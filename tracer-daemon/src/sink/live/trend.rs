//! What a number was lately, as a row of bars.

use std::collections::VecDeque;

use ratatui::text::Line;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// As many as fit beside a number in 80 columns: a minute, at one a second.
pub(super) const LONGEST: usize = 60;

/// Values of the last intervals.
#[derive(Debug, Default)]
pub(super) struct Trend(VecDeque<f64>);

impl Trend {
    /// Takes in another one; more than `most` are not remembered.
    pub(super) fn push(&mut self, value: f64, most: usize) {
        self.0.push_back(value);
        if self.0.len() > most {
            self.0.pop_front();
        }
    }

    /// Oldest first.
    pub(super) fn values(&self) -> impl Iterator<Item = f64> {
        self.0.iter().copied()
    }

    /// The last value and all of them, beside what they are called.
    pub(super) fn line(&self, name: &str, text: impl Fn(f64) -> String) -> Line<'static> {
        let last = self.0.back().map_or_else(String::new, |last| text(*last));
        let scale = self.values().fold(f64::MIN_POSITIVE, f64::max);
        let bars: String = self.values().map(|value| bar(value, scale)).collect();
        Line::from(format!("{name:<8}{last:>8}  {bars:>LONGEST$}"))
    }
}

/// A bar for a value between 0 and `scale`.
pub(super) fn bar(value: f64, scale: f64) -> char {
    let part = (value / scale * (BARS.len() - 1) as f64).round();
    // Not a number and less than nothing become 0.
    BARS[(part as usize).min(BARS.len() - 1)]
}
