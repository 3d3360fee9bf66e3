//! What comes in: messages, receipts, notifications (`wire-protocol.md` 1.8, 1.13, 1.16).
//!
//! Invariant: nothing is acknowledged before its event is durable, and an inbox record makes a second copy harmless.

pub(in crate::account) mod decrypt;

use crate::account::error::AccountError;
use crate::account::messages::inbound::decrypt::Unreadable;
use crate::account::messages::record::MessageStatus;
use crate::account::router::{Router, Turn};
use crate::account::{Children, Incident, codec};
use crate::base::ids::MessageId;
use crate::base::time::Timestamp;
use crate::signal::SignalError;
use crate::storage::{ChangeSet, kind, owner};
use crate::wire::message::{Decoded, Incoming};
use crate::wire::{Jid, Node, WireError};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An inbox record begins with one of these, and with how often the message was asked for again; the time follows. A copy
/// of what was read is only answered; a copy of what was unreadable is tried, and makes no second event when it fails.
const READ: u8 = 1;
const UNREADABLE: u8 = 2;
/// A message is asked for again this often.
const MAX_RETRIES: u8 = 5;

/// A message stanza, read once.
pub(in crate::account) struct Envelope {
    pub(in crate::account) id: MessageId,
    /// The sending device, as it was named.
    pub(in crate::account) from: Jid,
    /// The other side of the conversation: a person or a group.
    pub(in crate::account) chat: Jid,
    timestamp: Timestamp,
    name: Option<String>,
    pub(in crate::account) own: bool,
    pub(in crate::account) peer: bool,
}

impl Envelope {
    /// Whether it was encrypted once for many.
    pub(in crate::account) fn is_shared(&self) -> bool {
        self.chat.is_shared()
    }
}

impl Router {
    pub(in crate::account) async fn on_message<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
    ) -> Result<(), AccountError> {
        self.learn_addresses(turn, node).await?;
        let envelope = self.envelope(node)?;
        let inbox = inbox_key(&envelope);
        let attempts = match self.store.get(kind::INBOX, &inbox)?.as_deref() {
            Some([READ, ..]) => {
                self.answer(turn, node, &envelope, None);
                return Ok(());
            }
            Some([UNREADABLE, attempts, ..]) => *attempts,
            _ => 0,
        };
        let opened = self.open(turn, node, &envelope).await?;
        let mark = match opened {
            // Nothing was read from a message of this id, so it is no copy: its counter has been damaged, or it was overtaken by a
            // message that brought the sender's key as it is behind it.
            Err(why @ Unreadable::Signal(SignalError::Duplicate { .. })) => {
                if attempts < MAX_RETRIES {
                    self.ask_again(turn, node, &envelope, &why, attempts + 1).await?;
                }
                self.acknowledge(turn, node);
                [UNREADABLE, attempts.saturating_add(1)]
            }
            Err(mut why) => {
                if let Unreadable::Signal(SignalError::UnknownSenderKey { .. }) = why
                    && !self.note_device(turn, &envelope.from, node.has("offline")).await?
                {
                    why = Unreadable::UnknownDevice;
                }
                if attempts == 0 {
                    self.report_unreadable(turn, &envelope, &why).await?;
                }
                if attempts < MAX_RETRIES {
                    self.ask_again(turn, node, &envelope, &why, attempts + 1).await?;
                }
                self.acknowledge(turn, node);
                [UNREADABLE, attempts.saturating_add(1)]
            }
            Ok(decoded) => {
                // Whoever can be decrypted is heard, known or not.
                self.note_device(turn, &envelope.from, node.has("offline")).await?;
                let history = match &decoded.incoming {
                    Incoming::Protocol { history: Some(history) } if envelope.peer && envelope.own => {
                        Some(history.clone())
                    }
                    _ => None,
                };
                if let Some(history) = &history
                    && let Err(AccountError::Wire(error)) = self.take_history(turn, history).await
                {
                    tracing::warn!(account = %self.id, %error, "a piece of history cannot be read");
                }
                let hist_sync = history.is_some();
                self.report_message(turn, &envelope, decoded).await?;
                self.answer(turn, node, &envelope, hist_sync.then_some("hist_sync"));
                [READ, 0]
            }
        };
        let mut writes = ChangeSet::<owner::Router>::default();
        writes.put(kind::INBOX, inbox, [&mark[..], &turn.now.0.to_be_bytes()].concat());
        if envelope.is_shared() {
            let author = [b"\x01", envelope.from.bare().to_string().as_bytes(), &turn.now.0.to_be_bytes()].concat();
            writes.put(kind::AUTHOR, author_key(&envelope.chat, &envelope.id), author);
        }
        turn.absorb(writes);
        Ok(())
    }

    /// Who wrote a message that is to be quoted in this chat; `None` when it is not known.
    pub(in crate::account) fn author_of(&self, chat: &Jid, id: &MessageId) -> Result<Option<String>, AccountError> {
        if self.message(id)?.is_some_and(|ours| ours.to == chat.to_string()) {
            let link = self.device.link.as_ref();
            let named = link.map(|link| link.lid.as_ref().filter(|_| chat.is_group()).unwrap_or(&link.jid).bare());
            return Ok(named.map(|jid| jid.to_string()));
        }
        if !chat.is_group() {
            return Ok(Some(chat.to_string()));
        }
        let stored = self.store.get(kind::AUTHOR, &author_key(chat, id))?;
        let text = stored.and_then(|value| String::from_utf8(value.get(1..value.len().checked_sub(8)?)?.to_vec()).ok());
        Ok(text)
    }

    /// Notes a message that is not to be opened. False when it was dealt with before; one without an id cannot be noted.
    pub(in crate::account) fn note_as_unreadable<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
    ) -> Result<bool, AccountError> {
        let Ok(envelope) = self.envelope(node) else { return Ok(true) };
        let inbox = inbox_key(&envelope);
        if self.store.get(kind::INBOX, &inbox)?.is_some() {
            return Ok(false);
        }
        let mut writes = ChangeSet::<owner::Router>::default();
        writes.put(kind::INBOX, inbox, [&[UNREADABLE, MAX_RETRIES][..], &turn.now.0.to_be_bytes()].concat());
        turn.absorb(writes);
        Ok(true)
    }

    /// Stanzas name the other address of a sender where they know it.
    async fn learn_addresses<C: Children>(&mut self, turn: &mut Turn<'_, C>, node: &Node) -> Result<(), AccountError> {
        let pairs = [
            ("sender_lid", "sender_pn", "from"),
            ("participant_lid", "participant_pn", "participant"),
            ("recipient_lid", "recipient_pn", "recipient"),
            ("peer_recipient_lid", "peer_recipient_pn", "recipient"),
        ];
        for (lid_key, pn_key, named) in pairs {
            let base = node.jid(named);
            let (pn, lid) = match (node.jid(pn_key), node.jid(lid_key)) {
                (Some(pn), None) => (Some(pn), base),
                (None, Some(lid)) => (base, Some(lid)),
                both => both,
            };
            if let (Some(pn), Some(lid)) = (pn, lid) {
                self.learn_mapping(turn, pn, lid).await?;
            }
        }
        Ok(())
    }

    fn envelope(&self, node: &Node) -> Result<Envelope, WireError> {
        let from = node.require_jid("from")?;
        let sender = node.jid("participant").unwrap_or_else(|| from.clone());
        let own = self.device.link.as_ref().is_some_and(|link| link.is_own_user(&sender));
        let chat = match node.jid("recipient") {
            Some(recipient) if own => recipient.bare(),
            _ => from.bare(),
        };
        Ok(Envelope {
            id: MessageId::new(node.require_text("id")?.into_owned()),
            from: sender,
            chat,
            timestamp: Timestamp::from_secs(node.number("t").unwrap_or_default()),
            name: node.text("notify").map(|name| name.into_owned()).filter(|name| !name.is_empty()),
            own,
            peer: node.is("category", "peer"),
        })
    }

    /// A contact has a new identity, which is trusted from now on: the bot may want to know.
    pub(in crate::account) async fn identity_changed<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        device: &Jid,
    ) -> Result<(), AccountError> {
        turn.count(Incident::IdentityChanged);
        let user = device.bare();
        let addresses = turn.children.devices(move |devices| devices.addresses(&user)).await??;
        let writes = turn.children.sender_keys(move |keys| keys.lost(&addresses)).await??;
        turn.absorb(writes);
        self.give_token_again(turn, device).await?;
        let chat = self.shown(turn, &device.bare()).await?;
        self.event(turn, "identity.changed", &chat, &json!({ "contact": chat }));
        Ok(())
    }

    async fn report_message<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        envelope: &Envelope,
        decoded: Decoded,
    ) -> Result<(), AccountError> {
        let destination = match &decoded.sent_to {
            Some(text) if envelope.own => Jid::parse(text).unwrap_or_else(|_| envelope.chat.clone()),
            _ => envelope.chat.clone(),
        };
        let chat = self.shown(turn, &destination.bare()).await?;
        let mut data = json!({
            "id": envelope.id.as_str(),
            "chat": chat,
            "from": self.shown(turn, &envelope.from.bare()).await?,
            "timestamp": envelope.timestamp.rfc3339(),
        });
        if let Some(lid) = self.lid_of(turn, &envelope.from.bare()).await? {
            data["from_lid"] = json!(lid);
        }
        if let Some(name) = &envelope.name {
            data["from_name"] = json!(name);
        }
        match decoded.incoming {
            Incoming::Protocol { .. } => return Ok(()),
            Incoming::Text { body, quoted_id, mentions } => {
                data["type"] = json!("text");
                data["text"] = json!({ "body": body });
                if let Some(quoted) = quoted_id {
                    data["context"] = json!({ "message_id": quoted });
                }
                if !mentions.is_empty() {
                    data["mentions"] = json!(mentions);
                }
            }
            Incoming::Unsupported => data["type"] = json!("unsupported"),
        }
        let kind = if envelope.own { "message.sent" } else { "message.received" };
        self.event(turn, kind, &chat, &data);
        Ok(())
    }

    async fn report_unreadable<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        envelope: &Envelope,
        why: &Unreadable,
    ) -> Result<(), AccountError> {
        turn.count(Incident::Undecryptable);
        let reason = why.reason();
        tracing::warn!(account = %self.id, from = %envelope.from.redacted(), reason, "a message cannot be decrypted");
        let chat = self.shown(turn, &envelope.chat).await?;
        let from = self.shown(turn, &envelope.from.bare()).await?;
        let timestamp = envelope.timestamp.rfc3339();
        let data =
            json!({ "id": envelope.id.as_str(), "chat": chat, "from": from, "timestamp": timestamp, "reason": reason });
        self.event(turn, "message.undecryptable", &chat, &data);
        Ok(())
    }

    /// A user as the outside knows them: by phone number where we know it.
    pub(in crate::account) async fn shown<C: Children>(
        &self,
        turn: &mut Turn<'_, C>,
        jid: &Jid,
    ) -> Result<String, AccountError> {
        let asked = jid.clone();
        let pn = turn.children.devices(move |devices| devices.pn_of(&asked)).await??;
        Ok(pn.as_ref().unwrap_or(jid).to_string())
    }

    async fn lid_of<C: Children>(&self, turn: &mut Turn<'_, C>, jid: &Jid) -> Result<Option<String>, AccountError> {
        let asked = jid.clone();
        let canonical = turn.children.devices(move |devices| devices.canonical(&asked)).await??;
        Ok((canonical.server() == crate::wire::Server::Lid).then(|| canonical.to_string()))
    }

    /// Notifications are always acknowledged; some make us act.
    pub(in crate::account) async fn on_notification<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        node: &Node,
    ) -> Result<(), AccountError> {
        match node.text("type").as_deref() {
            Some("encrypt") if node.find("count").is_some() => self.upload_prekeys(turn).await?,
            Some("encrypt") if node.find("digest").is_some() => self.ask_for_digest(turn),
            Some("encrypt") if node.find("identity").is_some() => self.forget_identity(turn, node).await?,
            Some("devices") => self.forget_devices(turn, node.require_jid("from")?).await?,
            Some("account_sync") if node.find("devices").is_some() => {
                let own = self.own_pn().bare();
                self.forget_devices(turn, own).await?;
            }
            Some("link_code_companion_reg") => self.on_code_step(turn, node)?,
            Some("companion_reg_refresh") => self.on_refresh_request(turn, node),
            Some("passkey_prologue_request") => self.on_passkey_demand(turn, node),
            Some("crsc_continuation") => self.on_passkey_continuation(turn, node)?,
            Some("privacy_token") => self.take_tokens(turn, node).await?,
            Some("w:gp2") => self.on_group_changes(turn, node).await?,
            _ => {}
        }
        self.acknowledge(turn, node);
        Ok(())
    }

    /// A user's devices have changed: they are asked for before the next message.
    pub(in crate::account) async fn forget_devices<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        user: Jid,
    ) -> Result<(), AccountError> {
        let writes = turn.children.devices(move |devices| devices.forget(&user)).await??;
        turn.absorb(writes);
        // What waits for prekeys asks for the list once more.
        self.outbox.entries.values_mut().for_each(|entry| entry.looked_up = false);
        Ok(())
    }

    /// A contact has registered anew: what we had with the old installation is of no use any more.
    async fn forget_identity<C: Children>(&mut self, turn: &mut Turn<'_, C>, node: &Node) -> Result<(), AccountError> {
        let user = node.require_jid("from")?.bare();
        if !user.is_user() || self.device.link.as_ref().is_some_and(|link| link.is_own_user(&user)) {
            return Ok(());
        }
        let asked = user.clone();
        let addresses = turn.children.devices(move |devices| devices.addresses(&asked)).await??;
        let (known, writes) = turn.children.sessions(move |sessions| sessions.forget_users(&addresses)).await??;
        turn.absorb(writes);
        self.forget_devices(turn, user.clone()).await?;
        if !known.is_empty() {
            self.identity_changed(turn, &user).await?;
        }
        Ok(())
    }

    /// The message as it stands, this turn's own writes included.
    pub(in crate::account) fn message_in<C>(
        &self,
        turn: &Turn<'_, C>,
        id: &MessageId,
    ) -> Result<Option<crate::account::MessageRecord>, AccountError> {
        let written = turn
            .changes
            .writes
            .iter()
            .rev()
            .find(|write| write.kind == kind::MESSAGE.code() && write.key == id.as_str().as_bytes());
        match written.and_then(|write| write.value.as_deref()) {
            Some(bytes) => codec::decode_json(bytes, "message").map(Some),
            None => self.message(id),
        }
    }
}

/// Sixteen bytes that name (chat, sender, id) without telling the phone numbers.
fn inbox_key(envelope: &Envelope) -> Vec<u8> {
    let parts = [envelope.chat.to_string(), envelope.from.bare().to_string(), envelope.id.to_string()];
    let digest = Sha256::digest(parts.join("\0"));
    digest[..16].to_vec()
}

fn author_key(chat: &Jid, id: &MessageId) -> Vec<u8> {
    let digest = Sha256::digest([chat.to_string(), id.to_string()].join("\0"));
    digest[..16].to_vec()
}

/// For events of failed sends.
pub(in crate::account) fn failure_data(id: &MessageId, chat: &str, code: &str, meaning: &str) -> Value {
    json!({ "id": id.as_str(), "chat": chat, "status": MessageStatus::Failed, "code": code, "meaning": meaning })
}
