use super::{Site, Slope};
use crate::aggregate::snapshot::{FollowedBlocks, Snapshot};
use crate::humanize::{bytes, count, percent, seconds};

/// What the finding is about.
pub(super) struct Leak<'a> {
    pub(super) site: &'a Site<'a>,
    pub(super) slope: &'a Slope,
    pub(super) place: Option<String>,
    pub(super) followed: &'a FollowedBlocks,
    /// Until the memory that was available is taken.
    pub(super) seconds_left: Option<f64>,
}

impl Leak<'_> {
    fn place(&self) -> &str {
        self.place.as_deref().unwrap_or("a place without a name")
    }
}

/// The finding in one line.
pub(super) fn summary(leak: &Leak<'_>) -> String {
    let rate = whole(leak.slope.per_second());
    let (place, time) = (leak.place(), seconds(leak.followed.seconds));
    format!("what {place} takes and does not give back grew by {rate}/s throughout {time}")
}

/// The measured numbers.
pub(super) fn evidence(leak: &Leak<'_>, snapshot: &Snapshot) -> Vec<String> {
    let (slope, site, followed) = (leak.slope, leak.site, leak.followed);
    let (rate, error) = (slope.per_second(), slope.error_per_second());
    let parts = site.later().iter().map(|part| format!("{}/s", whole(part.bytes / part.seconds)));
    let given_back = site.freed_bytes as f64 / (site.freed_bytes as f64 + site.held_bytes as f64);
    let mut lines = vec![
        format!(
            "its outstanding bytes grew by {}/s (95 %: {}/s to {}/s), over {}",
            whole(rate),
            whole(rate - error),
            whole(rate + error),
            seconds(slope.seconds)
        ),
        format!("in the parts of that time: {}", parts.collect::<Vec<_>>().join(", ")),
        format!(
            "of the bytes that it took while blocks were followed, {} were given back",
            percent(given_back)
        ),
        format!(
            "in the whole process {} blocks were handed out and {} given back",
            count(followed.handed_out),
            count(followed.given_back)
        ),
    ];
    if let Some(left) = leak.seconds_left {
        let available = bytes(snapshot.memory_available.unwrap_or_default());
        let hours = left / 3600.0;
        lines.push(format!("the machine has {available} available: enough for {hours:.1} hours"));
    }
    if !snapshot.window.complete {
        lines.push("something was lost: see what is missing".to_owned());
    }
    lines
}

/// Where it comes from.
pub(super) fn cause(leak: &Leak<'_>) -> String {
    let size = leak.slope.bytes / leak.slope.blocks.max(1.0);
    format!("{} takes blocks of {} on average, most of which stay", leak.place(), whole(size))
}

/// What to do, best first.
pub(super) fn remedies(leak: &Leak<'_>) -> Vec<String> {
    let longer = seconds(leak.followed.seconds * 10.0);
    vec![
        format!("give back what {} takes, or put a limit to what is kept of it", leak.place()),
        format!(
            "if it is a cache that may still be filling up, watch it for longer: --duration {longer}"
        ),
        "every call site's outstanding bytes: report FILE --format pprof, and there inuse_space"
            .to_owned(),
    ]
}

/// Bytes as a person reads them; below nothing is nothing.
fn whole(number: f64) -> String {
    bytes(number.round().max(0.0) as u64)
}
