//! Offline backlog, pulled in batches, and the watchdog for an announced backlog that does not arrive (`wire-protocol.md` 1.7).

use crate::base::time::Monotonic;
use std::time::Duration;

/// Stanzas requested in one batch.
pub(super) const BATCH: u64 = 200;
/// A batch is complete when none of its stanzas arrived for this long.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// A backlog that makes no progress for this long means an unresponsive service.
const PATIENCE: Duration = Duration::from_secs(60);

/// Progress of the backlog on this connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backlog {
    /// When the next batch is requested: set while one arrives.
    next: Option<Monotonic>,
    /// When the watchdog fires: from the announcement of the backlog to its end.
    until: Option<Monotonic>,
}

impl Backlog {
    pub(super) fn announced(now: Monotonic) -> Self {
        Self { next: None, until: Some(now.plus(PATIENCE)) }
    }

    /// A batch is arriving.
    pub(super) fn is_arriving(&self) -> bool {
        self.next.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Monotonic> {
        [self.next, self.until].into_iter().flatten().min()
    }

    /// A stanza of the backlog arrived.
    pub(super) fn progress(&mut self, now: Monotonic) {
        if self.until.is_some() {
            (self.next, self.until) = (Some(now.plus(DEBOUNCE)), Some(now.plus(PATIENCE)));
        }
    }

    pub(super) fn is_overdue(&self, now: Monotonic) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// True once when a batch is complete.
    pub(super) fn take_complete(&mut self, now: Monotonic) -> bool {
        self.next.take_if(|next| *next <= now).is_some()
    }
}
