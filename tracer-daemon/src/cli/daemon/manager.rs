//! What the service manager hears, if one listens (`Type=notify`): that the daemon serves, that it still
//! measures, that it ends.

use std::time::Duration;

use sd_notify::{NotifyState, notify, watchdog_enabled};

/// Samples that may be missing before the silence means something.
pub(super) const MISSED_SAMPLES: u32 = 3;

/// The first sample has been taken and is served; another one comes each `interval`.
pub(super) fn ready(interval: Duration) {
    let patience = watchdog_enabled().and_then(|allowed| patience(allowed, interval));
    let longer = patience.map(|time| format!("WATCHDOG_USEC={}", time.as_micros()));
    let longer = longer.as_deref().map(NotifyState::Custom);
    tell(&longer.into_iter().chain([NotifyState::Ready]).collect::<Vec<_>>());
}

/// A sample has been taken, and with it all that can hang has been seen not to.
pub(super) fn measured() {
    tell(&[NotifyState::Watchdog]);
}

/// The daemon ends because it was told to.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How long the manager has to wait, where samples are too rare for what it was going to wait.
fn patience(allowed: Duration, interval: Duration) -> Option<Duration> {
    let needed = interval.saturating_mul(MISSED_SAMPLES);
    (needed > allowed).then_some(needed)
}

/// A manager that cannot be told will notice; the measuring goes on.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        log::warn!("the service manager cannot be told {state:?}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_samples_want_more_patience() {
        let seconds = Duration::from_secs;
        assert_eq!(patience(seconds(30), seconds(5)), None);
        assert_eq!(patience(seconds(30), seconds(10)), None);
        assert_eq!(patience(seconds(30), seconds(60)), Some(seconds(180)));
        assert_eq!(patience(seconds(30), Duration::MAX), Some(Duration::MAX));
    }
}
