//! Whether a tree is alive: it answers the fleet's beats, and its turns end. A thread that is blocked cannot be helped, but the accounts
//! on it can: they are fenced off, and loaded anew on another one.

use crate::account::StanzaPrint;
use crate::base::time::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Signs of life of one tree, shared with the fleet.
#[derive(Clone)]
pub(super) struct Pulse(Arc<Signs>);

struct Signs {
    /// When the last beat was answered, in milliseconds since 1970.
    beat: AtomicU64,
    /// When the turn that is under way began; 0 when none is.
    turn: AtomicU64,
    /// The stanza that it is about.
    stanza: Mutex<Option<StanzaPrint>>,
}

impl Pulse {
    pub(super) fn new(now: Timestamp) -> Self {
        Self(Arc::new(Signs { beat: AtomicU64::new(now.0), turn: AtomicU64::new(0), stanza: Mutex::default() }))
    }

    pub(super) fn beat(&self, now: Timestamp) {
        self.0.beat.store(now.0, Ordering::Relaxed);
    }

    pub(super) fn begin_turn(&self, now: Timestamp, stanza: Option<StanzaPrint>) {
        *self.0.stanza.lock().unwrap_or_else(PoisonError::into_inner) = stanza;
        self.0.turn.store(now.0, Ordering::Relaxed);
    }

    pub(super) fn end_turn(&self) {
        self.0.turn.store(0, Ordering::Relaxed);
    }

    /// The stanza of the turn that is under way.
    pub(super) fn stanza(&self) -> Option<StanzaPrint> {
        let is_turning = self.0.turn.load(Ordering::Relaxed) > 0;
        self.0.stanza.lock().unwrap_or_else(PoisonError::into_inner).filter(|_| is_turning)
    }

    /// What has not moved for longer than `patience`.
    pub(super) fn stuck(&self, now: Timestamp, patience: Duration) -> Option<Stuck> {
        let since = |at: &AtomicU64| Timestamp(at.load(Ordering::Relaxed));
        if since(&self.0.beat).plus(patience) < now {
            return Some(Stuck::Thread);
        }
        let turn = since(&self.0.turn);
        (turn.0 > 0 && turn.plus(patience) < now).then_some(Stuck::Turn)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuck {
    /// The thread of the tree runs something that does not end.
    Thread,
    /// A turn waits for an answer that does not come.
    Turn,
}

impl Stuck {
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Thread => "the thread of the account is blocked",
            Self::Turn => "a turn does not end",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_stuck_when_beats_stay_away_or_a_turn_does_not_end() {
        let (start, patience) = (Timestamp(1000), Duration::from_secs(30));
        let pulse = Pulse::new(start);
        let at = |secs: u64| start.plus(Duration::from_secs(secs));
        assert_eq!(pulse.stuck(at(30), patience), None);
        assert_eq!(pulse.stuck(at(31), patience), Some(Stuck::Thread));
        pulse.beat(at(31));
        assert_eq!(pulse.stuck(at(31), patience), None);
        pulse.begin_turn(at(31), None);
        pulse.beat(at(62));
        assert_eq!(pulse.stuck(at(62), patience), Some(Stuck::Turn));
        pulse.end_turn();
        assert_eq!(pulse.stuck(at(62), patience), None);
    }
}
