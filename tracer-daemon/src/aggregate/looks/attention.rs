use std::time::Instant;

use super::{BETWEEN, Load, Looks, PATIENCE, badness};

/// The process that is looked at, or else the next one to be: what there is to say before anything is found.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// The process.
    pub load: Load,
    /// How far it is.
    pub stage: Stage,
}

/// How far a look is.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// It is under way.
    Looking {
        /// Since when.
        since: Instant,
    },
    /// It is yet to begin.
    Waiting {
        /// Not before then.
        until: Instant,
        /// Its group's last one, which found nothing.
        last: Option<LastLook>,
    },
}

/// How a group's last look ended.
#[derive(Clone, Debug, PartialEq)]
pub struct LastLook {
    /// When.
    pub at: Instant,
    /// Why it told nothing; `None`: it told that there is nothing to find.
    pub failure: Option<String>,
}

impl Looks {
    /// Whom it is about at present. A process whose group has a finding waits for nothing.
    #[must_use]
    pub fn attention(&self) -> Option<Attention> {
        if let Some((load, since)) = &self.open {
            return Some(Attention { load: load.clone(), stage: Stage::Looking { since: *since } });
        }
        if self.rest.is_zero() {
            return None;
        }
        let unknown = self.judged.iter().filter(|load| !self.found.contains_key(&load.group));
        let waiting = unknown.filter_map(|load| Some((self.due(load)?, load)));
        let (until, load) = waiting.min_by(|(one_due, one), (other_due, other)| {
            one_due.cmp(other_due).then(badness(other).total_cmp(&badness(one)))
        })?;
        let last = self.looked_at.get(&load.group).cloned();
        Some(Attention { load: load.clone(), stage: Stage::Waiting { until, last } })
    }

    /// When a look may begin; `None`: there is no reason for one at present.
    fn due(&self, load: &Load) -> Option<Instant> {
        let suspicion = self.suspicions.get(&load.process)?;
        if Some(suspicion.last) != self.judged_at {
            return None;
        }
        let alone = self.looked_at.get(&load.group).map(|look| look.at + self.rest);
        let between = self.last_end.map(|end| end + BETWEEN);
        [alone, between].into_iter().flatten().max().max(Some(suspicion.since + PATIENCE))
    }
}
