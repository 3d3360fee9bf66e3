//! Sending: a durable queue, from the request to the service's acknowledgement (`wire-protocol.md` 1.11).
//!
//! Invariants: a message is accepted only with its record; the ratchets and the finished stanza are one commit, and what is written
//! again after a reconnect is that stanza, byte for byte. Messages of a chat are sent in order.

pub(super) mod ack_watch;
pub(super) mod bundles;
mod direct;
pub(super) mod fanout;
mod group;
pub(super) mod outcome;
pub(super) mod queue;
pub(super) mod step;
mod targets;

use super::inbound::authors;
use super::record;
use super::record::{MessageRecord, MessageStatus};
use super::requests::Request;
use crate::account::address::{Contact, Recipient};
use crate::account::content::Content;
use crate::account::directory::addresses;
use crate::account::error::{AccountError, Refusal};
use crate::account::own_device::Linked;
use crate::account::turn::Turn;
use crate::account::turn::requests::Requests;
use crate::base::ids::MessageId;
use crate::wire::Jid;
use crate::wire::message::new_message_id;
use prost::Message as _;
use queue::{Outbox, Outgoing, Payload, Stage, Wait};
use std::collections::HashSet;
use step::{Failure, Step, UNAVAILABLE};

/// The most queued messages of one account.
const MAX_WAITING: usize = 10_000;
/// The most lookups for one message before it fails.
const MAX_TRIES: u32 = 3;

/// A message to send.
#[derive(Debug, Clone)]
pub struct SendRequest {
    pub to: Jid,
    /// The recipients of a status; empty otherwise.
    pub recipients: Vec<Jid>,
    pub content: Content,
}

impl SendRequest {
    /// A status needs readers, and nothing else has them.
    pub fn new(to: Recipient, recipients: Vec<Contact>, content: Content) -> Result<Self, BadReaders> {
        if recipients.is_empty() == (to.0 == Jid::status()) {
            return Err(BadReaders);
        }
        Ok(Self { to: to.0, recipients: recipients.into_iter().map(|reader| reader.0).collect(), content })
    }
}

/// A status without readers, or readers of something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("are the readers of a status: required with status@broadcast, and only there")]
pub struct BadReaders;

/// Why a message is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("the account is not linked to a phone; start it and scan its QR code")]
    NotLinked,
    #[error("too many messages are waiting to be sent; try again later")]
    QueueFull,
}

impl Refusal for SendError {
    fn problem(&self) -> (u16, &'static str) {
        match self {
            Self::NotLinked => (409, "not_linked"),
            Self::QueueFull => (429, "queue_full"),
        }
    }
}

/// Accepts a message into the queue. It is sent once this turn is durable.
pub(super) async fn accept(
    turn: &mut Turn<'_>,
    outbox: &mut Outbox,
    request: SendRequest,
) -> Result<Result<MessageRecord, SendError>, AccountError> {
    let Some(user) = turn.own().map(|own| own.jid.user().to_owned()).filter(|_| !turn.ctx.link.logged_out) else {
        return Ok(Err(SendError::NotLinked));
    };
    if outbox.len() >= MAX_WAITING {
        return Ok(Err(SendError::QueueFull));
    }
    let SendRequest { to, recipients, mut content } = request;
    if let Some(quoted) = content.quoted_id().map(MessageId::new) {
        content.set_quoted_participant(authors::of(turn, &to, &quoted)?);
    }
    let record = MessageRecord {
        id: new_message_id(turn.now, &user, &mut turn.ctx.rng),
        to: to.to_string(),
        kind: content.kind().to_owned(),
        text: content.shown_text().to_owned(),
        created_at: turn.now,
        status: MessageStatus::Queued,
        recipients: Vec::new(),
        failure: None,
    };
    let message = content.to_message(&mut turn.ctx.rng).encode_to_vec();
    let lane = addresses::canonical(turn, &to).await?;
    let payload = Payload::Encoded { kind: content.kind().to_owned(), message };
    let entry = Outgoing { recipients, ..Outgoing::new(record.id.clone(), to, lane, payload) };
    queue::put(turn, outbox.next_seq(), &entry, None);
    record::put(turn, &record);
    outbox.push(entry);
    Ok(Ok(record))
}

/// Prepares and writes queued messages. A chat whose first message waits for the service holds its later messages back.
pub(super) async fn flush(
    turn: &mut Turn<'_>,
    outbox: &mut Outbox,
    requests: &mut Requests<Request>,
) -> Result<(), AccountError> {
    let Some(own) = turn.own().cloned().filter(|_| turn.is_online()) else { return Ok(()) };
    let mut held = HashSet::new();
    for seq in outbox.unwritten() {
        let Some(mut entry) = outbox.entries.remove(&seq) else { continue };
        let chat = entry.lane.clone();
        if !held.contains(&chat) && matches!(entry.stage, Stage::Queued) {
            match prepare(turn, outbox, requests, &own, seq, &mut entry).await? {
                Step::Waiting(wait) => entry.stage = Stage::Waiting(wait),
                Step::Encrypted(stanza) => {
                    queue::put(turn, seq, &entry, Some(&stanza));
                    entry.stage = Stage::encrypted(*stanza);
                }
                Step::Failed(failure) => {
                    outcome::fail_entry(turn, seq, &entry, failure)?;
                    continue;
                }
            }
        }
        match &mut entry.stage {
            Stage::Encrypted { stanza, written, .. } if written.is_none() => {
                *written = Some(turn.steady);
                turn.write((**stanza).clone());
            }
            Stage::Encrypted { .. } => {}
            Stage::Queued | Stage::Waiting(_) => {
                held.insert(chat);
            }
        }
        outbox.entries.insert(seq, entry);
    }
    Ok(())
}

async fn prepare(
    turn: &mut Turn<'_>,
    outbox: &Outbox,
    requests: &mut Requests<Request>,
    own: &Linked,
    seq: u64,
    entry: &mut Outgoing,
) -> Result<Step, AccountError> {
    if entry.to.is_shared() {
        group::prepare(turn, requests, outbox, own, seq, entry).await
    } else {
        direct::prepare(turn, requests, own, seq, entry).await
    }
}

/// Device lists have arrived: resumes the entries that waited for these users.
pub(super) fn devices_known(outbox: &mut Outbox, users: &[Jid]) {
    for entry in outbox.entries.values_mut() {
        if let Stage::Waiting(Wait::Devices { users: waits, outdated }) = &mut entry.stage {
            waits.retain(|user| !users.contains(user));
            if waits.is_empty() {
                entry.looked_up = !*outdated;
                entry.stage = Stage::Queued;
            }
        }
    }
}

/// A device list was forgotten: it is queried before a message goes to its user.
pub(super) fn devices_forgotten(outbox: &mut Outbox) {
    outbox.entries.values_mut().for_each(Outgoing::expire_lookup);
}

/// The metadata of a group is known: entries that waited for it go on.
pub(super) fn group_known(outbox: &mut Outbox, group: &Jid) {
    let waiting = outbox.entries.values_mut().filter(|entry| entry.to == *group);
    waiting.filter(|entry| entry.stage.waits_for_group()).for_each(|entry| entry.stage = Stage::Queued);
}

/// A group has changed: its entries need its metadata again.
pub(super) fn group_changed(outbox: &mut Outbox, group: &Jid) {
    for entry in outbox.entries.values_mut().filter(|entry| entry.to == *group) {
        entry.tries = 0;
        entry.expire_lookup();
    }
}

/// A lookup failed: retries the entries that waited for it, up to `MAX_TRIES` times.
pub(super) fn unanswered(
    turn: &mut Turn<'_>,
    outbox: &mut Outbox,
    waited: impl Fn(u64, &Outgoing) -> bool,
) -> Result<(), AccountError> {
    let waiting: Vec<u64> =
        outbox.entries.iter().filter(|(seq, entry)| waited(**seq, entry)).map(|(seq, _)| *seq).collect();
    for seq in waiting {
        let Some(entry) = outbox.entries.get_mut(&seq) else { continue };
        entry.tries += 1;
        entry.stage = Stage::Queued;
        if entry.tries > MAX_TRIES {
            outcome::fail(turn, outbox, seq, UNAVAILABLE)?;
        }
    }
    Ok(())
}

/// Fails the entries that wait for this group: the service does not know it.
pub(super) fn group_refused(
    turn: &mut Turn<'_>,
    outbox: &mut Outbox,
    group: &Jid,
    failure: Failure,
) -> Result<(), AccountError> {
    let waiting = outbox.entries.iter().filter(|(_, entry)| entry.to == *group && entry.stage.waits_for_group());
    let waiting: Vec<u64> = waiting.map(|(seq, _)| *seq).collect();
    waiting.into_iter().try_for_each(|seq| outcome::fail(turn, outbox, seq, failure))
}
