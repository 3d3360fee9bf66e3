//! Resending to the one device that could not decrypt: the answer to a retry receipt (`wire-protocol.md` 1.14).
//!
//! Invariants: a message is resent only to a device that it was for, encrypted for that device alone, under its id. A retry receipt is
//! acknowledged when it has been answered or refused: until then the service keeps it, also while we are down.

use super::outbound::fanout::{device_identity, encrypt_each, without_session};
use super::outbound::queue::{self, Outbox, Outgoing, Payload, Stage};
use super::recipients;
use super::requests::{Request, Resend};
use super::resend_budget::Budget;
use super::sent::{self, Sent};
use crate::account::directory::addresses;
use crate::account::directory::trust::{self, Offered};
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::counter::Counter;
use crate::account::turn::requests::{Requests, Response, iq, may_pass};
use crate::base::ids::MessageId;
use crate::base::time::Monotonic;
use crate::signal::PreKeyBundle;
use crate::wire::message::{device_sent, sender_key_message};
use crate::wire::prekeys::{read_bundle, read_user};
use crate::wire::proto::Message;
use crate::wire::{Content, Jid, Node, Server};
use prost::Message as _;
use std::collections::HashMap;

/// The most resends of one message to one device.
const MAX_RESENDS: u64 = 5;
/// The most pairs of message and device that are counted. Beyond it a retry receipt stays unacknowledged: a count that is forgotten would
/// begin anew.
const MAX_COUNTED: usize = 65_536;
/// The time after which a pair is forgotten when there are too many.
const COUNTED_MS: u64 = 24 * 60 * 60 * 1000;
/// The most waiting retry receipts. The service delivers others again with the next login.
const MAX_WAITING: usize = 1000;

/// A retry receipt for a group message, received while other messages to the group are unacknowledged. The resend brings our current
/// sender key, which does not decrypt earlier messages: those go first.
#[derive(Debug)]
struct WaitingReceipt {
    group: Jid,
    /// The resend waits for messages with smaller sequence numbers.
    behind: u64,
    receipt: Node,
}

#[derive(Debug, Default)]
pub(super) struct Resends {
    waiting: Vec<WaitingReceipt>,
    /// Retry receipts of recipients by message and device, each with the time of the first.
    counted: HashMap<(MessageId, Jid), (u64, Monotonic)>,
    budget: Budget,
}

/// The requests and the queue that a resend needs.
pub(super) struct Tables<'a> {
    pub(super) outbox: &'a mut Outbox,
    pub(super) requests: &'a mut Requests<Request>,
}

impl Resends {
    /// The connection is closed: the service delivers unanswered retry receipts again.
    pub(super) fn disconnected(&mut self) {
        self.waiting.clear();
    }

    /// Handles a retry receipt: a device could not decrypt a message of ours.
    pub(super) async fn on_retry(
        &mut self,
        turn: &mut Turn<'_>,
        tables: &mut Tables<'_>,
        receipt: &Node,
    ) -> Result<(), AccountError> {
        let from = receipt.require_jid("from")?;
        receipt.require_text("id")?;
        let device = receipt.jid("participant").unwrap_or_else(|| from.clone());
        // Repair the session first, so that later messages decrypt even if this resend is rejected.
        if from.is_shared() {
            let group = from.clone();
            turn.sender_keys(move |keys| keys.remove_holder(&group, &device)).await?;
            let behind = tables.outbox.next_seq();
            if tables.outbox.is_on_its_way(&from, behind) {
                if self.waiting.len() < MAX_WAITING {
                    self.waiting.push(WaitingReceipt { group: from, behind, receipt: receipt.clone() });
                }
                return Ok(());
            }
        }
        self.answer(turn, tables, receipt).await
    }

    /// Answers the retry receipts whose earlier messages are acknowledged.
    pub(super) async fn settle(&mut self, turn: &mut Turn<'_>, tables: &mut Tables<'_>) -> Result<(), AccountError> {
        for waiting in std::mem::take(&mut self.waiting) {
            if tables.outbox.is_on_its_way(&waiting.group, waiting.behind) {
                self.waiting.push(waiting);
                continue;
            }
            match self.answer(turn, tables, &waiting.receipt).await {
                Err(AccountError::Stanza(error)) => {
                    tracing::warn!(account = %turn.ctx.id, %error, "malformed retry receipt skipped");
                    turn.acknowledge(&waiting.receipt);
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn answer(
        &mut self,
        turn: &mut Turn<'_>,
        tables: &mut Tables<'_>,
        receipt: &Node,
    ) -> Result<(), AccountError> {
        let from = receipt.require_jid("from")?;
        let device = receipt.jid("participant").unwrap_or(from);
        let id = MessageId::new(receipt.require_text("id")?.into_owned());
        let count = receipt.find("retry").and_then(|retry| retry.number("count")).unwrap_or(1);
        let keys = receipt.find("keys");
        let identity = keys.and_then(|keys| keys.find("device-identity")).map(|node| node.content_bytes().to_vec());
        let bundle = keys.map(|keys| read_bundle(receipt, keys)).transpose();
        let sent = sent::of(turn, &id)?;
        let is_recipient = match &sent {
            Some(sent) => was_for(turn, sent, &device).await?,
            None => false,
        };
        if is_recipient && !self.count(&id, &device, turn.steady) {
            return Ok(());
        }
        // The device's count is a claim; ours counts the resends.
        let tries = count.max(self.counted(&id, &device));
        let refusal = match &sent {
            None => Some("unknown message"),
            Some(_) if !is_recipient => Some("not a recipient"),
            Some(_) if tries > MAX_RESENDS => Some("resent too often"),
            Some(_) if bundle.is_err() => Some("malformed keys"),
            Some(_) if keys.is_none() && !addresses::is_known(turn, &device).await? => {
                Some("unknown device without keys")
            }
            Some(sent) if !self.budget.take(&sent.to, turn.steady) => Some("too many resends in this chat"),
            Some(_) => None,
        };
        let echo = Box::new(Node { content: Content::None, ..receipt.clone() });
        let resend = Resend { id, device: device.clone(), count, receipt: echo };
        if let Some(why) = refusal {
            refuse(turn, &resend, why);
            return Ok(());
        }
        if let Ok(Some(bundle)) = bundle
            && begin_session(turn, &device, bundle, identity).await?
        {
            return resend_now(turn, tables.outbox, &resend).await;
        }
        let registration = receipt.find("registration").and_then(|node| node.array("registration id").ok());
        let is_same = is_same_installation(turn, &device, registration.map(u32::from_be_bytes)).await?;
        if count == 1 && is_same && without_session(turn, std::slice::from_ref(&device)).await?.is_empty() {
            return resend_now(turn, tables.outbox, &resend).await;
        }
        let user = Node::new("user").attr("jid", &device).attr("reason", "retry");
        let fetch = iq("encrypt", "get").child(Node::new("key").child(user));
        tables.requests.send(turn, Request::Resend(resend), fetch);
        Ok(())
    }

    /// Counts a retry receipt of a recipient; false when there is no room.
    fn count(&mut self, id: &MessageId, device: &Jid, now: Monotonic) -> bool {
        let place = (id.clone(), device.clone());
        if self.counted.len() >= MAX_COUNTED && !self.counted.contains_key(&place) {
            self.counted.retain(|_, (_, since)| since.0 + COUNTED_MS > now.0);
            if self.counted.len() >= MAX_COUNTED {
                return false;
            }
        }
        self.counted.entry(place).or_insert((0, now)).0 += 1;
        true
    }

    fn counted(&self, id: &MessageId, device: &Jid) -> u64 {
        self.counted.get(&(id.clone(), device.clone())).map_or(0, |(count, _)| *count)
    }
}

/// Prekeys for a resend have arrived: sets up the session and resends.
pub(super) async fn on_bundle(
    turn: &mut Turn<'_>,
    outbox: &mut Outbox,
    resend: &Resend,
    response: Response<'_>,
) -> Result<(), AccountError> {
    const NO_PREKEYS: &str = "the service has no prekeys of that device";
    match response {
        Response::Result(iq) => {
            let user = iq.require_child("list")?.find("user").map(read_user).transpose()?;
            let Some(Ok((bundle, identity))) = user.map(|user| user.result) else {
                refuse(turn, resend, NO_PREKEYS);
                return Ok(());
            };
            if begin_session(turn, &resend.device, bundle, identity).await? {
                return resend_now(turn, outbox, resend).await;
            }
            refuse(turn, resend, "its prekeys are unusable");
        }
        Response::Refused(code) if !may_pass(code) => refuse(turn, resend, NO_PREKEYS),
        // The retry receipt stays unacknowledged, and is delivered again with the next login.
        Response::Refused(_) | Response::Missing => {}
    }
    Ok(())
}

/// Acknowledges a retry receipt without a resend.
fn refuse(turn: &mut Turn<'_>, resend: &Resend, why: &'static str) {
    turn.count(Counter::RetryRefused);
    let (device, count) = (resend.device.redacted(), resend.count);
    tracing::warn!(account = %turn.ctx.id, %device, count, why, "message not resent");
    turn.acknowledge(&resend.receipt);
}

/// False when the device has reinstalled since our session with it began.
async fn is_same_installation(
    turn: &mut Turn<'_>,
    device: &Jid,
    registration: Option<u32>,
) -> Result<bool, AccountError> {
    let Some(registration) = registration else { return Ok(true) };
    let address = addresses::protocol_address(turn, device).await?;
    let known = turn.sessions(move |sessions| sessions.registration_id(&address)).await?;
    Ok(known.is_none_or(|known| known == registration))
}

/// True when a message was for this device: of a recipient, or ours.
async fn was_for(turn: &mut Turn<'_>, sent: &Sent, device: &Jid) -> Result<bool, AccountError> {
    Ok(turn.is_own_user(device) || recipients::is_one(turn, &sent.to, &sent.recipients, device).await?)
}

/// Sets up a new session. False when the bundle cannot be used.
async fn begin_session(
    turn: &mut Turn<'_>,
    device: &Jid,
    bundle: PreKeyBundle,
    device_identity: Option<Vec<u8>>,
) -> Result<bool, AccountError> {
    let offered = Offered { device: device.clone(), bundle, device_identity };
    let bundle = match trust::verify_bundles(turn, vec![offered]).await?.pop() {
        Some((_, Ok(bundle))) => bundle,
        Some((_, Err(reason))) => {
            tracing::warn!(account = %turn.ctx.id, device = %device.redacted(), reason, "keys of a retry receipt refused");
            return Ok(false);
        }
        None => return Ok(false),
    };
    let (address, now) = (addresses::protocol_address(turn, device).await?, turn.now);
    let done = turn.sessions(move |sessions| sessions.establish(vec![(address, bundle)], now)).await?;
    if !done.changed.is_empty() {
        trust::identity_changed(turn, device).await?;
    }
    Ok(done.refused.is_empty())
}

async fn resend_now(turn: &mut Turn<'_>, outbox: &mut Outbox, resend: &Resend) -> Result<(), AccountError> {
    turn.acknowledge(&resend.receipt);
    let (Some(Sent { to, message, .. }), Some(own)) = (sent::of(turn, &resend.id)?, turn.own().cloned()) else {
        return Ok(());
    };
    let shared = to.is_shared();
    let to_own = own.is_own_user(&resend.device) && !shared;
    let plaintext = if shared {
        let group = to.clone();
        let key = turn.sender_keys(move |keys| keys.distribution(&group)).await?;
        // Concatenated protobuf encodings merge, so the key is appended to the message.
        let carried = key.map(|key| sender_key_message(&to.to_string(), key).encode_to_vec());
        [message, carried.unwrap_or_default()].concat()
    } else if to_own {
        let message = Message::decode(&*message).map_err(|_| AccountError::Record { what: "sent message" })?;
        device_sent(&to.to_string(), message).encode_to_vec()
    } else {
        message
    };
    let encrypted = encrypt_each(turn, vec![(resend.device.clone(), plaintext)]).await?;
    let Some(enc) = encrypted.participants.first().and_then(|target| target.find("enc")).cloned() else {
        return Ok(());
    };
    let mode = if resend.device.server() == Server::Lid { "lid" } else { "pn" };
    let stanza = Node::new("message")
        .attr("to", if shared { &to } else { &resend.device })
        .attr("id", resend.id.to_string())
        .attr("type", "text")
        .maybe("participant", shared.then_some(&resend.device))
        .maybe("addressing_mode", to.is_group().then_some(mode))
        .maybe("recipient", to_own.then_some(&to))
        .child(enc.attr("count", resend.count))
        .children(encrypted.begins.then(|| device_identity(&own)));
    turn.count(Counter::Resent);
    enqueue(turn, outbox, resend, to, stanza);
    Ok(())
}

/// Queues a resend until it is acknowledged, as every message.
fn enqueue(turn: &mut Turn<'_>, outbox: &mut Outbox, resend: &Resend, to: Jid, stanza: Node) {
    let entry = Outgoing {
        looked_up: true,
        resend_to: Some(resend.device.clone()),
        ..Outgoing::new(resend.id.clone(), to.clone(), to, Payload::None)
    };
    queue::put(turn, outbox.next_seq(), &entry, Some(&stanza));
    outbox.push(Outgoing { stage: Stage::encrypted(stanza), ..entry });
}
