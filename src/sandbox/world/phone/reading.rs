//! Stanzas received by a phone: it decrypts messages, lists them, and sends receipts.

use super::content::{MediaReference, decode, visible};
use super::message::{PhoneContext, PhoneMessage};
use crate::sandbox::world::net::schedule::{Action, RECEIPT_DELAY};
use crate::sandbox::world::routing::messages::ciphertexts;
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::signal::SignalError;
use crate::wire::{Jid, Node, Server, media};
use std::time::Duration;

/// Time until the person has read a message.
const READING: Duration = Duration::from_millis(200);
const APP_STATE_SYNC_KEY_REQUEST: i32 = 7;

/// A message received by a phone.
pub(super) struct Arrival<'n> {
    pub(super) id: String,
    pub(super) node: &'n Node,
    /// The `from` of the stanza: a device, or a group.
    pub(super) from: Jid,
    /// The device that wrote it.
    pub(super) author: Jid,
}

impl<'n> Arrival<'n> {
    fn read(node: &'n Node) -> Option<Self> {
        let from = node.jid("from")?;
        let author = node.jid("participant").unwrap_or_else(|| from.clone());
        Some(Self { id: node.text("id")?.into_owned(), node, from, author })
    }

    fn is_shared(&self) -> bool {
        matches!(self.from.server(), Server::Group | Server::Broadcast)
    }
}

impl World {
    /// Handles a stanza for a phone.
    pub(in crate::sandbox::world) fn phone_receives(&mut self, number: &str, node: &Node) {
        match node.tag.as_ref() {
            "message" => {
                if let Some(arrival) = Arrival::read(node) {
                    self.phone_decrypts(number, &arrival);
                }
            }
            "receipt" if node.is("type", "retry") => self.phone_resends(number, node),
            _ => {}
        }
    }

    fn phone_decrypts(&mut self, number: &str, arrival: &Arrival<'_>) {
        let author = self.canonical(&arrival.author);
        let address = author.protocol_address();
        let name = author.sender_key_name(&arrival.from);
        for (enc, bytes) in ciphertexts(arrival.node) {
            let kind = enc.text("type").unwrap_or_default();
            let Some(account) = self.registry.account_mut(number) else { return };
            let decrypted = match &*kind {
                "skmsg" => account.phone.decrypt_group(&name, bytes),
                _ => account.phone.decrypt(&address, &kind, bytes, self.now, &mut self.rng),
            };
            match decrypted {
                Ok(plaintext) => {
                    if kind == "skmsg" {
                        self.touch(|| Row::SenderKeys(number.to_owned(), author.clone(), arrival.from.clone()));
                    } else {
                        self.touch(|| Row::Session(number.to_owned(), author.clone()));
                        self.touch(|| Row::Phone(number.to_owned()));
                    }
                    self.phone_reads(number, arrival, &plaintext);
                }
                Err(SignalError::Duplicate { .. }) => {
                    let messages = &mut account.phone.messages;
                    if let Some(at) = messages.iter().rposition(|message| message.id == arrival.id) {
                        messages[at].copies += 1;
                        self.touch(|| Row::Message(number.to_owned(), at));
                    }
                }
                Err(error) => {
                    tracing::warn!(from = %arrival.from.redacted(), %error, "simulated phone cannot decrypt a message");
                    let lost = PhoneMessage::undecryptable(&arrival.id, &arrival.author, self.now, &error);
                    self.phone_lists(number, lost);
                    self.send_retry_receipt(number, arrival, &error);
                    return;
                }
            }
        }
    }

    fn phone_reads(&mut self, number: &str, arrival: &Arrival<'_>, plaintext: &[u8]) {
        let Ok(decoded) = decode(plaintext) else {
            tracing::warn!(from = %arrival.from.redacted(), "simulated phone cannot parse a decrypted message");
            return;
        };
        let mut message = decoded.message;
        if let Some(key) = message.sender_key_distribution_message.take() {
            self.phone_processes_sender_key(
                number,
                arrival,
                key.group_id(),
                key.axolotl_sender_key_distribution_message(),
            );
        }
        let own = self.registry.number_of(&arrival.author).as_deref() == Some(number);
        let asks_for_keys =
            message.protocol_message.as_ref().is_some_and(|it| it.r#type == Some(APP_STATE_SYNC_KEY_REQUEST));
        if own && asks_for_keys {
            self.share_app_state_keys(number, &arrival.author);
        }
        let Some(visible) = visible(message) else {
            if own && arrival.node.is("category", "peer") {
                self.phone_receipt(number, arrival, Some("peer_msg"), RECEIPT_DELAY);
            }
            return;
        };
        let chat = match (&decoded.sent_to, arrival.node.jid("recipient")) {
            _ if arrival.is_shared() => arrival.from.clone(),
            (Some(text), _) if own => Jid::parse(text).unwrap_or_else(|_| arrival.from.bare()),
            (_, Some(recipient)) if own => recipient.bare(),
            _ => arrival.from.bare(),
        };
        let media = visible.media.map(|(mut shown, reference)| {
            shown.sha256 = self.download(&reference);
            shown
        });
        let context = visible.quoted.and_then(|quoted| {
            let from = quoted.participant.and_then(|text| self.registry.number_of(&Jid::parse(&text).ok()?));
            Some(PhoneContext { message_id: quoted.stanza_id?, from })
        });
        let listed = PhoneMessage {
            id: arrival.id.clone(),
            chat: self.registry.number_of(&chat).unwrap_or_else(|| chat.to_string()),
            from: self.registry.number_of(&arrival.author).unwrap_or_else(|| arrival.author.to_string()),
            kind: visible.kind,
            text: visible.text,
            target: visible.target,
            media,
            context,
            at: self.now,
            copies: 1,
        };
        self.phone_lists(number, listed);
        self.phone_receipt(number, arrival, own.then_some("sender"), RECEIPT_DELAY);
        if !own {
            self.phone_receipt(number, arrival, Some("read"), READING);
        }
    }

    /// Adds a message to the list; a resent one replaces its undecryptable entry.
    fn phone_lists(&mut self, number: &str, message: PhoneMessage) {
        let Some(account) = self.registry.account_mut(number) else { return };
        let messages = &mut account.phone.messages;
        // A resent message has another ciphertext: a message that was read is not listed twice.
        if let Some(at) = messages.iter().position(|old| old.id == message.id && !old.is_undecryptable()) {
            messages[at].copies += u32::from(!message.is_undecryptable());
            self.touch(|| Row::Message(number.to_owned(), at));
            return;
        }
        let waiting = messages.iter().position(|old| old.id == message.id && old.is_undecryptable());
        let at = waiting.unwrap_or(messages.len());
        match waiting {
            Some(at) => messages[at] = message,
            None => messages.push(message),
        }
        self.touch(|| Row::Message(number.to_owned(), at));
    }

    fn phone_processes_sender_key(&mut self, number: &str, arrival: &Arrival<'_>, group: &str, key: &[u8]) {
        let Ok(group) = Jid::parse(group) else { return };
        let author = self.canonical(&arrival.author);
        let Some(account) = self.registry.account_mut(number) else { return };
        match account.phone.process_sender_key(author.sender_key_name(&group), key) {
            Ok(()) => self.touch(|| Row::SenderKeys(number.to_owned(), author, group)),
            Err(error) => tracing::warn!(%error, "simulated phone received an unusable sender key"),
        }
    }

    fn phone_receipt(&mut self, number: &str, arrival: &Arrival<'_>, kind: Option<&'static str>, wait: Duration) {
        let to = match kind {
            Some("read") if !arrival.is_shared() => arrival.from.bare(),
            _ => arrival.from.clone(),
        };
        let participant = arrival.is_shared().then(|| arrival.author.clone());
        let receipt = Node::new("receipt")
            .attr("id", arrival.id.clone())
            .attr("to", to)
            .maybe("participant", participant)
            .maybe("type", kind);
        self.after(wait, Action::Receipt { phone: number.to_owned(), receipt: Box::new(receipt) });
    }

    /// SHA-256 of a medium's plaintext, in hex; `None` when it is missing or cannot be decrypted.
    fn download(&self, reference: &MediaReference) -> Option<String> {
        let token = reference.direct_path.split('?').next()?.rsplit('/').next()?;
        let body = self.media.body(token)?;
        media::open(body, reference.kind, reference.key.as_ref()?, &reference.sha256).ok()?;
        Some(hex::encode(&reference.sha256))
    }

    /// The JID whose address names the session: the LID, which every phone here has.
    pub(super) fn canonical(&self, jid: &Jid) -> Jid {
        let account = self.registry.number_of(jid).and_then(|number| self.registry.account(&number));
        match account {
            Some(account) if jid.server() != Server::Lid => account.lid.with_device(jid.device()),
            _ => jid.clone(),
        }
    }
}
