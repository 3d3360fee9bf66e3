//! Outcome of a sent message: acknowledged, rejected or abandoned (`wire-protocol.md` 1.8).
//!
//! Invariant: a message counts as sent only by an acknowledgement without an error.

use super::queue::{Outbox, Outgoing, Stage};
use super::step::Failure;
use crate::account::directory::addresses::forget_devices;
use crate::account::error::AccountError;
use crate::account::groups::metadata;
use crate::account::messages::record;
use crate::account::messages::record::MessageStatus;
use crate::account::messages::status::StatusChanged;
use crate::account::turn::Turn;
use crate::account::turn::counter::Counter;
use crate::account::turn::notice::Notice;
use crate::storage::kind;
use crate::wire::phash::participant_hash;
use crate::wire::{Jid, Node};

/// `<ack class=message>`: the service has the message, or rejects it.
pub(in crate::account::messages) async fn on_ack(
    turn: &mut Turn<'_>,
    outbox: &mut Outbox,
    node: &Node,
) -> Result<(), AccountError> {
    let id = node.require_text("id")?;
    let found = outbox.entries.iter().find(|(_, entry)| entry.id.as_str() == id && is_answered(entry, node));
    let Some(seq) = found.map(|(seq, _)| *seq) else { return Ok(()) };
    let Some(entry) = remove(turn, outbox, seq) else { return Ok(()) };
    if entry.resend_to.is_some() {
        return Ok(());
    }
    if let Some(code) = node.text("error") {
        turn.count(Counter::MessageRejected);
        group_changed(turn, &entry.to)?;
        return report_failure(turn, &entry, &format!("service_{code}"), rejection_meaning(&code));
    }
    if let Some(delivery) = entry.key.clone() {
        let group = entry.to.clone();
        turn.sender_keys(move |keys| keys.add_holders(&group, &delivery)).await?;
    }
    if let Some(phash) = node.text("phash") {
        check_reached(turn, &entry, &phash).await?;
    }
    if entry.to.is_user() {
        turn.announce(Notice::Sent { to: entry.to.clone() });
    }
    if let Some(mut record) = record::of(turn, &entry.id)? {
        record.status = record.status.max(MessageStatus::Sent);
        record::put(turn, &record);
        turn.event(&StatusChanged::of(&record, MessageStatus::Sent));
    }
    Ok(())
}

/// Compares the phash of the acknowledgement with ours. When they differ our device lists are outdated, and queried before the next
/// message.
async fn check_reached(turn: &mut Turn<'_>, entry: &Outgoing, phash: &str) -> Result<(), AccountError> {
    // The stanza of a status does not name the devices that were reached.
    let Stage::Encrypted { stanza, .. } = &entry.stage else { return Ok(()) };
    if entry.to == Jid::status() {
        return Ok(());
    }
    let ours = match stanza.text("phash") {
        Some(ours) => ours.into_owned(),
        None => {
            let sent = stanza.find("participants").map(Node::nodes).unwrap_or_default();
            let sent: Vec<Jid> = sent.iter().filter_map(|target| target.jid("jid")).collect();
            participant_hash(&sent)
        }
    };
    if ours == phash {
        return Ok(());
    }
    tracing::debug!(account = %turn.ctx.id, to = %entry.to.redacted(), "service knows other devices");
    let users = match metadata::of(turn, &entry.to)? {
        Some(meta) => meta.members.into_iter().map(|member| member.jid).collect(),
        None => std::iter::once(entry.to.clone()).chain(turn.own().map(|own| own.jid.bare())).collect(),
    };
    group_changed(turn, &entry.to)?;
    forget_devices(turn, users).await
}

/// Marks the metadata of a message's group as outdated.
fn group_changed(turn: &mut Turn<'_>, to: &Jid) -> Result<(), AccountError> {
    if to.is_group() { metadata::mark_changed(turn, to) } else { Ok(()) }
}

/// Fails every queued message: the device is gone, or was restored from a backup.
pub(in crate::account::messages) fn fail_all(
    turn: &mut Turn<'_>,
    outbox: &mut Outbox,
    failure: Failure,
) -> Result<(), AccountError> {
    let all: Vec<u64> = outbox.entries.keys().copied().collect();
    all.into_iter().try_for_each(|seq| fail(turn, outbox, seq, failure))
}

pub(in crate::account::messages) fn fail(
    turn: &mut Turn<'_>,
    outbox: &mut Outbox,
    seq: u64,
    failure: Failure,
) -> Result<(), AccountError> {
    match remove(turn, outbox, seq) {
        Some(entry) if entry.resend_to.is_none() => report_failure(turn, &entry, failure.code, failure.meaning),
        _ => Ok(()),
    }
}

/// Fails an entry that was removed from the queue.
pub(super) fn fail_entry(
    turn: &mut Turn<'_>,
    seq: u64,
    entry: &Outgoing,
    failure: Failure,
) -> Result<(), AccountError> {
    turn.delete(kind::OUTBOX, seq.to_be_bytes());
    report_failure(turn, entry, failure.code, failure.meaning)
}

fn report_failure(turn: &mut Turn<'_>, entry: &Outgoing, code: &str, meaning: &str) -> Result<(), AccountError> {
    let Some(mut record) = record::of(turn, &entry.id)? else { return Ok(()) };
    record.status = MessageStatus::Failed;
    record.failure = Some((code.to_owned(), meaning.to_owned()));
    record::put(turn, &record);
    turn.event(&StatusChanged::failed(&record, code, meaning));
    Ok(())
}

fn remove(turn: &mut Turn<'_>, outbox: &mut Outbox, seq: u64) -> Option<Outgoing> {
    turn.delete(kind::OUTBOX, seq.to_be_bytes());
    outbox.entries.remove(&seq)
}

/// True when an acknowledgement with the entry's id is for this entry: that of a resend names its device.
fn is_answered(entry: &Outgoing, ack: &Node) -> bool {
    let to_device = ack.jid("participant").or_else(|| ack.jid("from"));
    entry.resend_to.is_none() || to_device.is_none() || entry.resend_to == to_device
}

/// The meaning of an error in the service's acknowledgement (`wire-protocol.md` 1.8).
fn rejection_meaning(code: &str) -> &'static str {
    match code {
        "400" => "the service refused the addressing of the message",
        "404" => "the recipient is unknown to the service",
        "421" => "the group's addressing has changed",
        "463" => "the service refuses a first message to this contact for now",
        "475" => "the account may not begin more new chats for now",
        "479" => "the service found the stanza invalid",
        "503" => "the service is unavailable",
        _ => "the service refused the message",
    }
}
