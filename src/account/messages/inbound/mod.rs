//! Receiving messages (`wire-protocol.md` 1.8, 1.13).
//!
//! Invariant: a message is acknowledged only when its event is durable, and an inbox record makes a second copy harmless.

pub(super) mod authors;
mod decrypt;
pub(super) mod envelope;
mod failures;
mod report;
mod retry_receipt;
mod unreadable;

pub(super) use report::{RECEIVED, SENT, UNDECRYPTABLE};

use super::receipts::PendingReceipts;
use crate::account::content::{self, Incoming};
use crate::account::directory::{addresses, mapping, trust};
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::counter::Counter;
use crate::account::turn::inbox::Inbox;
use crate::account::turn::notice::Notice;
use crate::wire::Node;
use crate::wire::message::Decoded;
use envelope::{Envelope, address_pairs};
use failures::{Failures, Sender};
use unreadable::Unreadable;

/// The most retry receipts for one message.
const MAX_RETRIES: u8 = 5;

/// What receiving keeps between stanzas.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    pub(super) receipts: PendingReceipts,
    failures: Failures,
}

pub(super) async fn receive(turn: &mut Turn<'_>, inbound: &mut Inbound, node: &Node) -> Result<(), AccountError> {
    let envelope = Envelope::read(turn.own(), node)?;
    mapping::learn(turn, address_pairs(node)).await?;
    let inbox = envelope.inbox_key();
    let retries = match turn.inbox(&inbox)? {
        Some(Inbox::Read) => {
            inbound.receipts.confirm(turn, node, &envelope, None);
            return Ok(());
        }
        Some(Inbox::Unreadable { retries }) => retries,
        None => 0,
    };
    let failures = &mut inbound.failures;
    let may_fail = failures.is_clear(turn.steady) || failures.has(&sender(turn, &envelope).await?, turn.steady);
    let mark = match decrypt::decrypt(turn, node, &envelope, may_fail).await? {
        Ok(decoded) => {
            if !failures.is_clear(turn.steady) {
                failures.give(&sender(turn, &envelope).await?.user, turn.steady);
            }
            deliver(turn, &mut inbound.receipts, node, &envelope, decoded).await?;
            Inbox::Read
        }
        Err(why) => {
            let sender = sender(turn, &envelope).await?;
            if !failures.take(&sender, turn.steady) {
                ignore(turn, node, &envelope);
                return Ok(());
            }
            if !failures.has(&sender, turn.steady) {
                let from = envelope.from.redacted();
                tracing::warn!(account = %turn.ctx.id, from, "sender's messages fail too often: further ones are ignored");
            }
            unreadable(turn, failures, node, &envelope, why, retries).await?
        }
    };
    turn.put_inbox(&inbox, mark);
    if envelope.is_shared() {
        authors::put(turn, &envelope.chat, &envelope.id, &envelope.from);
    }
    Ok(())
}

async fn sender(turn: &mut Turn<'_>, envelope: &Envelope) -> Result<Sender, AccountError> {
    let user = addresses::canonical(turn, &envelope.from.bare()).await?;
    Ok(Sender { user, is_known: trust::knows(turn, &envelope.from).await? })
}

/// Acknowledges a message of a sender whose budget of failures is spent: no retry receipt, no event, no record.
fn ignore(turn: &mut Turn<'_>, node: &Node, envelope: &Envelope) {
    turn.count(Counter::Ignored);
    tracing::debug!(account = %turn.ctx.id, from = %envelope.from.redacted(), "undecryptable message ignored");
    turn.acknowledge(node);
}

/// Delivers the message even if the sender's device is not in our list; the list is refreshed.
async fn deliver(
    turn: &mut Turn<'_>,
    receipts: &mut PendingReceipts,
    node: &Node,
    envelope: &Envelope,
    decoded: Decoded,
) -> Result<(), AccountError> {
    is_listed(turn, envelope).await?;
    let sent_to = decoded.sent_to.clone();
    let mut extra = None;
    match content::read(decoded) {
        Incoming::Content(shown) => report::message(turn, envelope, sent_to, shown).await?,
        Incoming::Protocol { history: Some(history) } if envelope.peer && envelope.own => {
            turn.announce(Notice::HistoryReceived(history));
            extra = Some("hist_sync");
        }
        Incoming::Protocol { .. } => {}
    }
    receipts.confirm(turn, node, envelope, extra);
    Ok(())
}

/// Sends a retry receipt, and reports the message once.
async fn unreadable(
    turn: &mut Turn<'_>,
    failures: &mut Failures,
    node: &Node,
    envelope: &Envelope,
    mut why: Unreadable,
    retries: u8,
) -> Result<Inbox, AccountError> {
    if why.is_unknown_sender_key() && !is_listed(turn, envelope).await? {
        why = Unreadable::UnknownDevice;
    }
    // No message of this id was decrypted, so it is no copy: its counter was damaged, or a message with a newer state of the sender key
    // overtook it. The resend can be decrypted.
    if retries == 0 && !why.is_duplicate() {
        report::undecryptable(turn, envelope, &why).await?;
    }
    if retries < MAX_RETRIES {
        // A lost session cannot be repaired without keys.
        let wants_keys = retries > 0 || why.needs_keys();
        let with_keys = wants_keys && failures.take_fresh_key(turn.steady);
        retry_receipt::send(turn, node, envelope, &why, retries + 1, with_keys).await?;
    }
    turn.acknowledge(node);
    Ok(Inbox::Unreadable { retries: retries.saturating_add(1) })
}

/// False when the user's list lacks the sending device. It is then refreshed: at once, or after the backlog.
async fn is_listed(turn: &mut Turn<'_>, envelope: &Envelope) -> Result<bool, AccountError> {
    let is_known = addresses::is_known(turn, &envelope.from).await?;
    if !is_known {
        turn.announce(Notice::UnlistedDevice { device: envelope.from.clone(), from_backlog: envelope.offline });
    }
    Ok(is_known)
}

/// Skips a stanza that has brought the account down twice: reported once, and not decrypted. Must not call a child.
pub(super) fn skip_poison(turn: &mut Turn<'_>, node: &Node) -> Result<(), AccountError> {
    if let Ok(envelope) = Envelope::read(turn.own(), node) {
        let inbox = envelope.inbox_key();
        if turn.inbox(&inbox)?.is_some() {
            return Ok(());
        }
        turn.put_inbox(&inbox, Inbox::Unreadable { retries: MAX_RETRIES });
    }
    report::poison(turn, node);
    Ok(())
}
