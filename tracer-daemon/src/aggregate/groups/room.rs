//! How many groups there are. Names are chosen by whoever starts processes.

use std::{sync::Arc, time::Duration};

use super::{Belongs, Groups, group::Group};

/// What the names begin with that stand for no processes of their own.
pub const RESERVED: char = '~';
/// The group of processes for whose groups there was no room.
pub const OTHER: &str = "~other";
/// The group of processes that are too young to begin a group.
pub const NEW: &str = "~new";
/// What groups had counted that gave up their room.
pub const ENDED: &str = "~ended";

/// A group without a process keeps its room for so long. Each name that comes and goes is a series
/// that whoever scrapes has to keep.
const KEPT: Duration = Duration::from_secs(3600);

/// The room for groups with names of processes.
pub(super) struct Room {
    most: usize,
    /// Groups that there are.
    taken: usize,
    /// Those of them that are not superseded.
    current: usize,
    now: Duration,
    /// Whether no group can be spared at present.
    is_exhausted: bool,
}

impl Room {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, taken: 0, current: 0, now: Duration::ZERO, is_exhausted: false }
    }
}

impl Groups {
    /// From now on processes belong to other groups, and there is room for so many. Groups that nobody
    /// enters any more keep what they have counted, and give up their room as soon as it is needed.
    pub fn regroup(&mut self, most: usize) {
        (self.room.most, self.room.current) = (most, 0);
        self.groups.values_mut().for_each(|group| group.is_superseded = true);
    }

    /// A group that a process is still in has to stay: there may be more to count for it.
    pub(super) fn hold(&mut self, now: Duration) {
        (self.room.now, self.room.is_exhausted) = (now, false);
        for member in self.members.values() {
            if let Some(group) = self.groups.get_mut(&member.group) {
                group.last_held = now;
            }
        }
        while self.room.taken > self.room.most && self.spare_one() {}
    }

    /// The group that a process is in from now on.
    pub(super) fn enter(&mut self, belongs: &Belongs) -> Arc<str> {
        if belongs.to.starts_with(RESERVED) {
            return self.shared(OTHER);
        }
        let room = &mut self.room;
        if let Some(group) = self.groups.get_mut(&belongs.to) {
            if group.is_superseded && room.current >= room.most {
                return self.shared(OTHER);
            }
            room.current += usize::from(group.is_superseded);
            (group.last_held, group.is_superseded) = (room.now, false);
            return Arc::clone(&belongs.to);
        }
        if !belongs.founds {
            return self.shared(NEW);
        }
        if room.taken >= room.most && !self.spare_one() {
            return self.shared(OTHER);
        }
        (self.room.taken, self.room.current) = (self.room.taken + 1, self.room.current + 1);
        let group = Group::new(&self.measured, self.room.now);
        self.groups.insert(Arc::clone(&belongs.to), group);
        Arc::clone(&belongs.to)
    }

    /// A group that there is always room for.
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some((name, _)) = self.groups.get_key_value(name) {
            return Arc::clone(name);
        }
        let name: Arc<str> = Arc::from(name);
        self.groups.insert(Arc::clone(&name), Group::new(&self.measured, self.room.now));
        name
    }

    /// Has the group make way that was left longest ago, if one can be spared.
    fn spare_one(&mut self) -> bool {
        if self.room.is_exhausted {
            return false;
        }
        let now = self.room.now;
        let spare = self.groups.iter().filter(|(name, group)| {
            let left_for = now.saturating_sub(group.last_held);
            let is_spare = left_for >= KEPT || group.is_superseded && !left_for.is_zero();
            is_spare && !name.starts_with(RESERVED)
        });
        let spare =
            spare.min_by_key(|(_, group)| group.last_held).map(|(name, _)| Arc::clone(name));
        let Some(group) = spare.and_then(|name| self.groups.remove(&name)) else {
            self.room.is_exhausted = true;
            return false;
        };
        self.room.taken -= 1;
        self.room.current -= usize::from(!group.is_superseded);
        let ended = self.shared(ENDED);
        if let Some(ended) = self.groups.get_mut(&ended) {
            ended.take_over(group);
        }
        true
    }
}
