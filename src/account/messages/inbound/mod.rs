//! Receiving messages (`wire-protocol.md` 1.8, 1.13).
//!
//! Invariant: a message is acknowledged only when its event is durable, and an inbox record makes a second copy harmless.

pub(super) mod authors;
mod decrypt;
pub(super) mod envelope;
mod report;
mod retry_receipt;
mod unreadable;

pub(super) use report::{RECEIVED, SENT, UNDECRYPTABLE};

use super::receipts::PendingReceipts;
use crate::account::content::{self, Incoming};
use crate::account::directory::{addresses, mapping};
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::inbox::Inbox;
use crate::account::turn::notice::Notice;
use crate::wire::Node;
use crate::wire::message::Decoded;
use envelope::{Envelope, address_pairs};
use unreadable::Unreadable;

/// The most retry receipts for one message.
const MAX_RETRIES: u8 = 5;

pub(super) async fn receive(
    turn: &mut Turn<'_>,
    receipts: &mut PendingReceipts,
    node: &Node,
) -> Result<(), AccountError> {
    let envelope = Envelope::read(turn.own(), node)?;
    mapping::learn(turn, address_pairs(node)).await?;
    let inbox = envelope.inbox_key();
    let retries = match turn.inbox(&inbox)? {
        Some(Inbox::Read) => {
            receipts.confirm(turn, node, &envelope, None);
            return Ok(());
        }
        Some(Inbox::Unreadable { retries }) => retries,
        None => 0,
    };
    let mark = match decrypt::decrypt(turn, node, &envelope).await? {
        Ok(decoded) => {
            deliver(turn, receipts, node, &envelope, decoded).await?;
            Inbox::Read
        }
        Err(why) => unreadable(turn, node, &envelope, why, retries).await?,
    };
    turn.put_inbox(&inbox, mark);
    if envelope.is_shared() {
        authors::put(turn, &envelope.chat, &envelope.id, &envelope.from);
    }
    Ok(())
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
        retry_receipt::send(turn, node, envelope, &why, retries + 1).await?;
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
