//! The watchdog over acknowledgements: a message whose acknowledgement times out is written again or abandoned, and a service that
//! acknowledges nothing is unresponsive (`wire-protocol.md` 1.7).

use super::outcome;
use super::queue::Outbox;
use super::step::NOT_ACKNOWLEDGED;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::notice::Notice;
use crate::base::time::Monotonic;
use std::time::Duration;

/// How long an acknowledgement may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most time-outs of one message before it is abandoned.
const MAX_TIMEOUTS: u32 = 3;

#[derive(Debug, Default)]
pub(in crate::account::messages) struct AckWatch {
    /// When a message was last acknowledged.
    last_ack: Option<Monotonic>,
}

impl AckWatch {
    pub(in crate::account::messages) fn acknowledged(&mut self, now: Monotonic) {
        self.last_ack = Some(now);
    }

    pub(in crate::account::messages) fn deadline(outbox: &Outbox) -> Option<Monotonic> {
        outbox.oldest_written().map(|written| written.plus(PATIENCE))
    }

    pub(in crate::account::messages) fn tick(
        &self,
        turn: &mut Turn<'_>,
        outbox: &mut Outbox,
    ) -> Result<(), AccountError> {
        let mut unresponsive = false;
        for (seq, written) in outbox.written_before(turn.steady.minus(PATIENCE)) {
            if outbox.count_ack_timeout(seq) >= MAX_TIMEOUTS {
                outcome::fail(turn, outbox, seq, NOT_ACKNOWLEDGED)?;
            } else if self.last_ack.is_some_and(|ack| ack > written) {
                // Others were acknowledged meanwhile: only this message was lost, and it is written again.
                outbox.write_again(seq);
            } else {
                unresponsive = true;
            }
        }
        if unresponsive {
            turn.announce(Notice::Unresponsive { reason: "the service does not acknowledge messages" });
        }
        Ok(())
    }
}
