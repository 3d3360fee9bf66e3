//! Sending again to the one device that could not read (`wire-protocol.md` 1.14).
//!
//! Invariants: a message is sent again only to a device of those that it was for, encrypted for that device alone, under its id.
//! A request is acknowledged when it has been done or refused: until then the service keeps it, also while we are down.

use crate::account::error::AccountError;
use crate::account::messages::outbound::device_identity;
use crate::account::messages::outbound::queue::{Outgoing, Stage, put_outgoing};
use crate::account::router::{Router, Turn};
use crate::account::turn::requests::Purpose;
use crate::account::{Children, Incident, codec, proto};
use crate::base::ids::MessageId;
use crate::signal::PreKeyBundle;
use crate::storage::{ChangeSet, kind, owner};
use crate::wire::message::{OutgoingText, device_sent, sender_key_message};
use crate::wire::prekeys::{read_bundle, read_user};
use crate::wire::proto::Message;
use crate::wire::{Content, Jid, Node, Server, WireError};
use prost::Message as _;
use std::collections::HashSet;

/// A message is sent again this often to one device.
const MAX_RESENDS: u64 = 5;
/// Messages and devices that are counted at a time.
const MAX_COUNTED: usize = 10_000;

/// Requests that wait at a time; what is left of them comes again with the next login.
const MAX_WAITING: usize = 1000;

/// A request of a group's device that comes while messages are on their way to the group. With the answer goes our sender key as it
/// is now, and with that key the device could not read what was encrypted before: those messages go first.
pub(in crate::account) struct WaitingRequest {
    group: Jid,
    /// Behind the messages with smaller sequence numbers.
    behind: u64,
    request: Node,
}

/// A message that was sent.
struct Sent {
    to: Jid,
    /// Whom it was for, where `to` does not tell.
    recipients: Vec<Jid>,
    message: Vec<u8>,
}

/// A device that asks for a message again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::account) struct Resend {
    id: MessageId,
    device: Jid,
    count: u64,
    /// The request, without its content: what its acknowledgement echoes.
    request: Box<Node>,
}

impl Router {
    /// Keeps what was sent for a while, for devices that ask for it again.
    pub(in crate::account) fn keep_sent<C>(
        &self,
        turn: &mut Turn<'_, C>,
        entry: &Outgoing,
        to: &Jid,
        message: Vec<u8>,
    ) {
        let sent = proto::Sent {
            to: Some(to.to_string()),
            message: Some(message),
            at_ms: Some(turn.now.0),
            recipients: entry.recipients.iter().map(Jid::to_string).collect(),
        };
        let mut writes = ChangeSet::<owner::Router>::default();
        writes.put(kind::SENT, entry.id.as_str(), codec::encode(&sent));
        turn.absorb(writes);
    }

    fn sent(&self, id: &MessageId) -> Result<Option<Sent>, AccountError> {
        let Some(stored) = self.store.get(kind::SENT, id.as_str().as_bytes())? else { return Ok(None) };
        let sent: proto::Sent = codec::decode(&stored, "sent message")?;
        let recipients = sent.recipients.iter().map(|text| Jid::parse(text)).collect::<Result<_, _>>()?;
        Ok(Some(Sent { to: Jid::parse(sent.to())?, recipients, message: sent.message().to_vec() }))
    }

    /// A device could not read a message of ours.
    pub(in crate::account) async fn on_retry<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        receipt: &Node,
    ) -> Result<(), AccountError> {
        let from = receipt.require_jid("from")?;
        let device = receipt.jid("participant").unwrap_or_else(|| from.clone());
        // Repair comes before anything else: the next message must be readable, whatever becomes of this one.
        if from.is_shared() {
            let (group, lost) = (from.clone(), device);
            let writes = turn.children.sender_keys(move |keys| keys.unmark(&group, &lost)).await??;
            turn.absorb(writes);
            if self.is_on_its_way(&from, self.outbox.next) {
                if self.waiting_requests.len() < MAX_WAITING {
                    let (behind, request) = (self.outbox.next, receipt.clone());
                    self.waiting_requests.push(WaitingRequest { group: from, behind, request });
                }
                return Ok(());
            }
        }
        self.answer_request(turn, receipt).await
    }

    /// Whether the service has yet to acknowledge one of the group's messages that were encrypted before.
    fn is_on_its_way(&self, group: &Jid, behind: u64) -> bool {
        let mut earlier =
            self.outbox.entries.range(..behind).map(|(_, entry)| entry).filter(|entry| entry.to == *group);
        earlier.any(|entry| entry.again_to.is_none() && matches!(entry.stage, Stage::Sealed { .. }))
    }

    /// Answers what has waited long enough.
    pub(in crate::account) async fn answer_waiting_requests<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
    ) -> Result<(), AccountError> {
        for waiting in std::mem::take(&mut self.waiting_requests) {
            if self.is_on_its_way(&waiting.group, waiting.behind) {
                self.waiting_requests.push(waiting);
                continue;
            }
            match self.answer_request(turn, &waiting.request).await {
                Err(AccountError::Wire(error)) => {
                    tracing::warn!(account = %self.id, %error, "a request for a message was skipped");
                    self.acknowledge(turn, &waiting.request);
                }
                other => other?,
            }
        }
        Ok(())
    }

    async fn answer_request<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        receipt: &Node,
    ) -> Result<(), AccountError> {
        let from = receipt.require_jid("from")?;
        let device = receipt.jid("participant").unwrap_or(from);
        let id = MessageId::new(receipt.require_text("id")?.into_owned());
        let count = receipt.find("retry").and_then(|retry| retry.number("count")).unwrap_or(1);
        if self.resent.len() >= MAX_COUNTED {
            self.resent.clear();
        }
        // The count is what the device says: ours is of what we have done.
        let before = self.resent.entry((id.clone(), device.clone())).or_default();
        *before += 1;
        let tries = count.max(*before);
        let sent = self.sent(&id)?;
        let refusal = match &sent {
            None => Some("it is not known any more"),
            Some(_) if tries > MAX_RESENDS => Some("it was asked for too often"),
            Some(sent) if !self.was_for(turn, sent, &device).await? => Some("it was not for that device"),
            Some(_) if receipt.find("keys").is_none() && !self.is_known(turn, &device).await? => {
                Some("nobody knows that device, and it gives no keys")
            }
            Some(sent) if !self.budget.take(&sent.to, turn.steady) => Some("too many are asked for in this chat"),
            Some(_) => None,
        };
        let request = Box::new(Node { content: Content::None, ..receipt.clone() });
        let resend = Resend { id, device: device.clone(), count, request };
        if let Some(why) = refusal {
            self.not_again(turn, &resend, why);
            return Ok(());
        }
        if let Some(keys) = receipt.find("keys") {
            let bundle = read_bundle(receipt, keys)?;
            let identity = keys.find("device-identity").map(|node| node.content_bytes().to_vec());
            if self.begin_anew(turn, &device, bundle, identity.as_deref()).await? {
                return self.send_again(turn, &resend).await;
            }
        }
        let registration = receipt.find("registration").and_then(|node| node.array("registration id").ok());
        let is_same = self.is_same_installation(turn, &device, registration.map(u32::from_be_bytes)).await?;
        if count == 1 && is_same && self.without_session(turn, std::slice::from_ref(&device)).await?.is_empty() {
            return self.send_again(turn, &resend).await;
        }
        let user = Node::new("user").attr("jid", &device).attr("reason", "retry");
        let iq = self.ask(turn, Purpose::Resend(resend), "encrypt", "get");
        self.write(turn, iq.child(Node::new("key").child(user)));
        Ok(())
    }

    /// A message is not sent again, and need not be asked for any more.
    fn not_again<C>(&mut self, turn: &mut Turn<'_, C>, resend: &Resend, why: &'static str) {
        turn.count(Incident::RetryUnanswered);
        let (device, count) = (resend.device.redacted(), resend.count);
        tracing::warn!(account = %self.id, %device, count, why, "a message is not sent again");
        self.acknowledge(turn, &resend.request);
    }

    /// The service does not give prekeys of the device that asks.
    pub(in crate::account) fn resend_refused<C>(&mut self, turn: &mut Turn<'_, C>, resend: &Resend) {
        self.not_again(turn, resend, "the service has no prekeys of that device");
    }

    async fn is_known<C: Children>(&self, turn: &mut Turn<'_, C>, device: &Jid) -> Result<bool, AccountError> {
        let device = device.clone();
        turn.children.devices(move |devices| devices.is_known(&device)).await?
    }

    /// Whether our session is with the installation that asks: one that was made anew cannot use it.
    async fn is_same_installation<C: Children>(
        &self,
        turn: &mut Turn<'_, C>,
        device: &Jid,
        registration: Option<u32>,
    ) -> Result<bool, AccountError> {
        let Some(registration) = registration else { return Ok(true) };
        let address = self.address(turn, device).await?;
        let known = turn.children.sessions(move |sessions| sessions.registration_id(&address)).await??;
        Ok(known.is_none_or(|known| known == registration))
    }

    /// Whether a message was meant for this device: one of the chat's people, or one of ours.
    async fn was_for<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        sent: &Sent,
        device: &Jid,
    ) -> Result<bool, AccountError> {
        if self.device.link.as_ref().is_some_and(|link| link.is_own_user(device)) {
            return Ok(true);
        }
        let people: Vec<Jid> = match self.group(&sent.to)? {
            Some(meta) => meta.members.into_iter().map(|member| member.jid).collect(),
            None => std::iter::once(&sent.to).chain(&sent.recipients).cloned().collect(),
        };
        let asking = device.bare();
        turn.children
            .devices(move |devices| {
                let asking = devices.canonical(&asking)?;
                for person in &people {
                    if devices.canonical(&person.bare())? == asking {
                        return Ok(true);
                    }
                }
                Ok(false)
            })
            .await?
    }

    /// Sets up a new session; false when the bundle cannot be used.
    async fn begin_anew<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        device: &Jid,
        bundle: PreKeyBundle,
        identity: Option<&[u8]>,
    ) -> Result<bool, AccountError> {
        let bundle = match self.verify_bundle(turn, device, bundle, identity).await? {
            Ok(bundle) => bundle,
            Err(reason) => {
                tracing::warn!(account = %self.id, device = %device.redacted(), reason, "keys of a retry are refused");
                return Ok(false);
            }
        };
        let (address, now) = (self.address(turn, device).await?, turn.now);
        let done = turn.children.sessions(move |sessions| sessions.establish(vec![(address, bundle)], now)).await??;
        turn.absorb(done.writes);
        if !done.changed.is_empty() {
            self.identity_changed(turn, device).await?;
        }
        Ok(done.refused.is_empty())
    }

    pub(in crate::account) async fn on_resend_bundle<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        resend: Resend,
        iq: &Node,
    ) -> Result<(), AccountError> {
        let user = iq.require_child("list")?.find("user").map(read_user).transpose()?;
        let Some(Ok((bundle, identity))) = user.map(|user| user.result) else {
            self.resend_refused(turn, &resend);
            return Ok(());
        };
        if self.begin_anew(turn, &resend.device, bundle, identity.as_deref()).await? {
            self.send_again(turn, &resend).await
        } else {
            self.not_again(turn, &resend, "its prekeys make no session");
            Ok(())
        }
    }

    async fn send_again<C: Children>(&mut self, turn: &mut Turn<'_, C>, resend: &Resend) -> Result<(), AccountError> {
        self.acknowledge(turn, &resend.request);
        let (Some(Sent { to, message, .. }), Some(link)) = (self.sent(&resend.id)?, self.device.link.clone()) else {
            return Ok(());
        };
        let shared = to.is_shared();
        let own = link.is_own_user(&resend.device) && !shared;
        let plaintext = if shared {
            let group = to.clone();
            let key = turn.children.sender_keys(move |keys| keys.distribution(&group)).await??;
            // Fields of two encodings are the fields of one.
            let carried = key.map(|key| sender_key_message(&to.to_string(), key).encode_to_vec());
            [message, carried.unwrap_or_default()].concat()
        } else if own {
            let message = Message::decode(&*message).map_err(|_| WireError::Malformed { what: "sent message" })?;
            device_sent(&to.to_string(), message).encode_to_vec()
        } else {
            message
        };
        let sealed = self.seal_each(turn, vec![(resend.device.clone(), plaintext)]).await?;
        let Some(enc) = sealed.participants.first().and_then(|target| target.find("enc")).cloned() else {
            return Ok(());
        };
        let mode = if resend.device.server() == Server::Lid { "lid" } else { "pn" };
        let stanza = Node::new("message")
            .attr("to", if shared { &to } else { &resend.device })
            .attr("id", resend.id.to_string())
            .attr("type", "text")
            .maybe("participant", shared.then_some(&resend.device))
            .maybe("addressing_mode", to.is_group().then_some(mode))
            .maybe("recipient", own.then_some(&to))
            .child(enc.attr("count", resend.count));
        turn.count(Incident::RetryAnswered);
        let stanza = stanza.children(sealed.begins.then(|| device_identity(&link)));
        self.queue_again(turn, resend, to, stanza);
        Ok(())
    }
}

impl Router {
    /// Kept until the service has it, as every message.
    fn queue_again<C>(&mut self, turn: &mut Turn<'_, C>, resend: &Resend, to: Jid, stanza: Node) {
        let entry = Outgoing {
            id: resend.id.clone(),
            lane: to.clone(),
            to,
            recipients: Vec::new(),
            text: OutgoingText::default(),
            stage: Stage::Sealed { stanza: Box::new(stanza.clone()), written: None, silences: 0 },
            tries: 0,
            looked_up: true,
            unreachable: HashSet::new(),
            key: None,
            again_to: Some(resend.device.clone()),
        };
        let mut writes = ChangeSet::<owner::Router>::default();
        put_outgoing(&mut writes, self.outbox.next, &entry, Some(&stanza));
        turn.absorb(writes);
        self.outbox.entries.insert(self.outbox.next, entry);
        self.outbox.next += 1;
    }
}
