//! What waited while the account was away, asked for in batches; and whether the service still hears us (`wire-protocol.md` 1.7).
//!
//! An account is deaf when its connection lives but nothing comes of it: a backlog that was announced does not come, or messages
//! are not acknowledged. It connects anew, and is deaf until something is heard.

use crate::account::Incident;
use crate::account::connection::Ending;
use crate::account::error::AccountError;
use crate::account::router::{Router, Turn};
use crate::account::view::AccountState;
use crate::base::time::Monotonic;
use crate::wire::Node;
use std::time::Duration;

/// Stanzas asked for at a time.
const BATCH: u64 = 200;
/// A batch has come when nothing more of it has for so long.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// A connection of which nothing comes for so long is deaf.
const PATIENCE: Duration = Duration::from_secs(60);
/// A message that so often had no answer in time is given up.
const MAX_SILENCES: u32 = 3;

/// Where the drain of the backlog stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::account) struct Drain {
    /// When the next batch is asked for: while one is coming.
    next: Option<Monotonic>,
    /// When patience with the backlog ends: from its announcement until its end was told.
    until: Option<Monotonic>,
    /// Whether its end was told on this connection.
    over: bool,
}

impl Drain {
    pub(in crate::account) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether a batch is coming, the end of which is seen.
    pub(in crate::account) fn is_coming(&self) -> bool {
        self.next.is_some()
    }

    pub(in crate::account) fn deadline(&self) -> Option<Monotonic> {
        [self.next, self.until].into_iter().flatten().min()
    }

    /// Something of the backlog has come.
    fn progress(&mut self, now: Monotonic) {
        if self.until.is_some() {
            (self.next, self.until) = (Some(now.plus(DEBOUNCE)), Some(now.plus(PATIENCE)));
        }
    }
}

impl Router {
    /// The service has a backlog: it comes only where it is asked for.
    pub(in crate::account) fn begin_drain<C>(&mut self, turn: &mut Turn<'_, C>) {
        self.drain = Drain { next: None, until: Some(turn.steady.plus(PATIENCE)), over: false };
        self.ask_for_batch(turn);
    }

    fn ask_for_batch<C>(&mut self, turn: &mut Turn<'_, C>) {
        self.tell_receipts(turn);
        self.write(turn, Node::new("ib").child(Node::new("offline_batch").attr("count", BATCH)));
    }

    pub(in crate::account) fn drained<C>(&mut self, turn: &mut Turn<'_, C>) {
        self.tell_receipts(turn);
        self.drain = Drain { over: true, ..Drain::default() };
        self.hears(turn);
    }

    /// Something has come that only a service that listens sends.
    pub(in crate::account) fn hears<C>(&mut self, _: &Turn<'_, C>) {
        if self.view.state == AccountState::Deaf && self.connection.is_logged_in() {
            self.view.state = AccountState::Online;
            self.view.reason = None;
        }
        self.deaf = false;
    }

    pub(in crate::account) fn note_backlog<C>(&mut self, turn: &Turn<'_, C>, node: &Node) {
        if node.has("offline") {
            self.drain.progress(turn.steady);
        }
    }

    pub(in crate::account) fn tick_drain<C>(&mut self, turn: &mut Turn<'_, C>) -> Result<(), AccountError> {
        if self.drain.until.is_some_and(|until| until <= turn.steady) {
            self.is_deaf(turn, "the service holds messages that do not come");
            return Ok(());
        }
        if self.drain.next.is_some_and(|next| next <= turn.steady) {
            self.drain.next = None;
            self.ask_for_batch(turn);
        }
        let mut is_deaf = false;
        for (seq, written) in self.outbox.written_before(turn.steady.minus(PATIENCE)) {
            if self.outbox.count_silence(seq) >= MAX_SILENCES {
                self.give_up(turn, seq)?;
            } else if self.last_ack.is_some_and(|ack| ack > written) {
                // Others were acknowledged since: this one alone is written again.
                self.outbox.write_again(seq);
            } else {
                is_deaf = true;
            }
        }
        if is_deaf {
            self.is_deaf(turn, "the service does not acknowledge messages");
        }
        Ok(())
    }

    fn give_up<C>(&mut self, turn: &mut Turn<'_, C>, seq: u64) -> Result<(), AccountError> {
        let Some(id) = self.outbox.entries.get(&seq).map(|entry| entry.id.clone()) else { return Ok(()) };
        let meaning = "the service did not acknowledge the message; it may have arrived";
        self.fail(turn, seq, &id, "outcome_unknown", meaning)
    }

    /// When patience with an acknowledgement ends.
    pub(in crate::account) fn unacknowledged_deadline(&self) -> Option<Monotonic> {
        self.outbox.oldest_written().map(|written| written.plus(PATIENCE))
    }

    fn is_deaf<C>(&mut self, turn: &mut Turn<'_, C>, why: &'static str) {
        tracing::warn!(account = %self.id, why, "the account is deaf: connecting anew");
        turn.count(Incident::Deaf);
        self.deaf = true;
        self.drop_connection(turn, Ending::Deaf(why));
    }
}
