//! A simulated phone: a primary device that really encrypts and decrypts (`sandbox-service.md` 9).

use super::account::Account;
use super::control::PhoneMessage;
use super::routing::ciphertexts;
use super::{Action, DeviceId, RECEIPT_DELAY, World, WorldError};
use crate::base::address::ProtocolAddress;
use crate::base::ids::MessageId;
use crate::base::time::Timestamp;
use crate::signal::{
    Buffer, Context, IdentityKeyPair, JumpLimit, LocalParty, PreKeyBundle, PreKeyId, PreKeyPair, PreKeySignalMessage,
    RemoteParty, Session, SignalError, SignalMessage, SignedPreKeyId, SignedPreKeyPair,
};
use crate::wire::message::{Incoming, OutgoingText, decode, device_sent, new_message_id, pad};
use crate::wire::proto::{HistorySync, Message, history_sync, message as fields};
use crate::wire::{Jid, Node, Server};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{CryptoRng, Rng};
use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::time::Duration;

const PREKEYS: u32 = 100;
/// How long a person takes to look at a message.
const READING: Duration = Duration::from_millis(200);

const HISTORY_SYNC_NOTIFICATION: i32 = 5;
const APP_STATE_SYNC_KEY_SHARE: i32 = 6;
const INITIAL_BOOTSTRAP: i32 = 0;
const RECENT: i32 = 3;
const PUSH_NAME: i32 = 4;

/// The phone's keys, sessions, and what it has read.
pub(super) struct Phone {
    pub(super) local: LocalParty,
    signed: SignedPreKeyPair,
    prekeys: BTreeMap<PreKeyId, PreKeyPair>,
    offered: PreKeyId,
    sessions: HashMap<ProtocolAddress, Session>,
    buffer: Buffer,
    pub(super) messages: Vec<PhoneMessage>,
    app_state_key: [u8; 32],
}

impl Phone {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        let identity = IdentityKeyPair::generate(rng);
        let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &identity, rng);
        let mut app_state_key = [0; 32];
        rng.fill_bytes(&mut app_state_key);
        let mut phone = Self {
            local: LocalParty { identity, registration_id: rng.next_u32() >> 1 },
            signed,
            prekeys: BTreeMap::new(),
            offered: PreKeyId::FIRST,
            sessions: HashMap::new(),
            buffer: Buffer::new(),
            messages: Vec::new(),
            app_state_key,
        };
        phone.refill(rng);
        phone
    }

    fn refill(&mut self, rng: &mut dyn CryptoRng) {
        let mut id = self.prekeys.keys().next_back().map_or(PreKeyId::FIRST, |last| last.next());
        for _ in 0..PREKEYS {
            self.prekeys.insert(id, PreKeyPair::generate(id, rng));
            id = id.next();
        }
    }

    pub(super) fn take_bundle(&mut self) -> PreKeyBundle {
        let one_time = self.prekeys.range(self.offered..).next().map(|(id, key)| (*id, *key.pair.public()));
        if let Some((id, _)) = one_time {
            self.offered = id.next();
        }
        PreKeyBundle {
            registration_id: self.local.registration_id,
            identity: self.local.identity.public(),
            signed_pre_key_id: self.signed.id,
            signed_pre_key: *self.signed.pair.public(),
            signature: self.signed.signature.to_vec(),
            one_time,
        }
    }

    fn decrypt(
        &mut self,
        from: &ProtocolAddress,
        kind: &str,
        bytes: &[u8],
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, SignalError> {
        let session = self.sessions.entry(from.clone()).or_default();
        let remote = stranger(from);
        let ctx = Context { remote: &remote, limit: JumpLimit::default(), now, rng, buffer: &mut self.buffer };
        if kind == "msg" {
            return session.decrypt(&SignalMessage::parse(bytes)?, ctx).map(<[u8]>::to_vec);
        }
        let message = PreKeySignalMessage::parse(bytes)?;
        if session.knows(&message) {
            return session.decrypt_known(&message, ctx).map(<[u8]>::to_vec);
        }
        let one_time = message.pre_key_id.and_then(|id| self.prekeys.get(&id));
        let (plaintext, used) = session.accept(&self.local, &self.signed, one_time, &message, ctx)?;
        if let Some(id) = used {
            self.prekeys.remove(&id);
        }
        Ok(plaintext.to_vec())
    }
}

/// A simulated phone takes everyone's word for who they are.
fn stranger(address: &ProtocolAddress) -> RemoteParty {
    RemoteParty { address: address.clone(), identity: None }
}

impl World {
    /// A stanza has reached a phone.
    pub(super) fn phone_receives(&mut self, number: &str, node: &Node) {
        if node.tag != "message" {
            return;
        }
        let (Some(from), Some(id)) = (node.jid("from"), node.text("id").map(|id| id.into_owned())) else { return };
        let address = self.canonical(&from).protocol_address();
        for (enc, bytes) in ciphertexts(node) {
            let kind = enc.text("type").unwrap_or_default();
            let Some(account) = self.accounts.get_mut(number) else { return };
            match account.phone.decrypt(&address, &kind, bytes, self.now, &mut self.rng) {
                Ok(plaintext) => self.phone_reads(number, &from, &id, node, &plaintext),
                Err(SignalError::Duplicate { .. }) => {
                    let seen = account.phone.messages.iter_mut().find(|message| message.id == id);
                    if let Some(message) = seen {
                        message.copies += 1;
                    }
                }
                Err(error) => {
                    tracing::warn!(from = %from.redacted(), %error, "a simulated phone cannot decrypt a message");
                    account.phone.messages.push(PhoneMessage::undecryptable(&id, &from, self.now, &error));
                }
            }
        }
    }

    fn phone_reads(&mut self, number: &str, from: &Jid, id: &str, node: &Node, plaintext: &[u8]) {
        let Ok(decoded) = decode(plaintext) else {
            tracing::warn!(from = %from.redacted(), "a simulated phone cannot read a decrypted message");
            return;
        };
        let own = self.number_of(from).as_deref() == Some(number);
        let receipt = |kind: Option<&'static str>| {
            let to = if kind == Some("read") { from.bare() } else { from.clone() };
            Box::new(Node::new("receipt").attr("id", id.to_owned()).attr("to", to).maybe("type", kind))
        };
        let phone = number.to_owned();
        let Incoming::Text { body, .. } = decoded.incoming else { return };
        let chat = match (&decoded.sent_to, node.jid("recipient")) {
            (Some(text), _) if own => Jid::parse(text).unwrap_or_else(|_| from.bare()),
            (_, Some(recipient)) if own => recipient.bare(),
            _ => from.bare(),
        };
        let message = PhoneMessage {
            id: id.to_owned(),
            chat: self.number_of(&chat).unwrap_or_else(|| chat.to_string()),
            from: self.number_of(from).unwrap_or_else(|| from.to_string()),
            kind: "text",
            text: Some(body),
            at: self.now,
            copies: 1,
        };
        if let Some(account) = self.accounts.get_mut(number) {
            account.phone.messages.push(message);
        }
        let delivered = receipt(own.then_some("sender"));
        self.after(RECEIPT_DELAY, Action::Receipt { phone: phone.clone(), receipt: delivered });
        if !own {
            self.after(READING, Action::Receipt { phone, receipt: receipt(Some("read")) });
        }
    }

    /// The person writes a text: encrypted for every device of the recipient, and for the own companions.
    pub fn write_text(&mut self, number: &str, to: &str, text: &str) -> Result<MessageId, WorldError> {
        let recipient = Jid::parse_recipient(to).ok().and_then(|jid| self.number_of(&jid));
        let recipient = recipient.ok_or_else(|| WorldError::NoRecipient(to.to_owned()))?;
        if !self.accounts.contains_key(number) {
            return Err(WorldError::NoPhone(number.to_owned()));
        }
        let id = new_message_id(self.now, number, &mut self.rng);
        let chat = self.accounts.get(&recipient).map(|account| account.lid.clone()).unwrap_or_else(Jid::service);
        let message = OutgoingText { body: text.to_owned(), ..OutgoingText::default() }.to_message(&mut self.rng);
        let copy = device_sent(&chat.to_string(), message.clone());
        let mut participants = Vec::new();
        let theirs: Vec<DeviceId> = self.devices_of(&recipient).into_iter().collect();
        let ours = self.devices_of(number).into_iter().filter(|device| device.device != 0);
        for device in theirs.into_iter().chain(ours) {
            if device.number == number && device.device == 0 {
                continue;
            }
            let plain = if device.number == number { &copy } else { &message };
            participants.extend(self.phone_encrypts(number, &device, plain.encode_to_vec()));
        }
        if participants.is_empty() {
            return Err(WorldError::NoDevices);
        }
        let stanza = Node::new("message")
            .attr("to", chat)
            .attr("id", id.to_string())
            .attr("type", "text")
            .child(Node::new("participants").children(participants));
        self.route_message(&DeviceId { number: number.to_owned(), device: 0 }, &stanza);
        Ok(id)
    }

    /// `<to jid><enc>` for one device; none when there is no way to encrypt for it yet.
    fn phone_encrypts(&mut self, number: &str, device: &DeviceId, plaintext: Vec<u8>) -> Option<Node> {
        let jid = self.accounts.get(&device.number)?.lid.with_device(device.device);
        let address = jid.protocol_address();
        let plaintext = pad(plaintext, &mut self.rng);
        let (remote, now) = (stranger(&address), self.now);
        let session = self.accounts.get(number)?.phone.sessions.get(&address);
        let known = session.is_some_and(|session| session.is_usable(&remote, now));
        if !known {
            let (bundle, _) = self.accounts.get_mut(&device.number)?.take_bundle(device.device)?;
            let bundle = bundle.verify().ok()?;
            let phone = &mut self.accounts.get_mut(number)?.phone;
            let session = phone.sessions.entry(address.clone()).or_default();
            session.initiate(&phone.local, &remote, &bundle, now, &mut self.rng).ok()?;
        }
        let phone = &mut self.accounts.get_mut(number)?.phone;
        let session = phone.sessions.get_mut(&address)?;
        let limit = JumpLimit::default();
        let ctx = Context { remote: &remote, limit, now, rng: &mut self.rng, buffer: &mut phone.buffer };
        let sealed = session.encrypt(&plaintext, ctx).ok()?;
        let kind = if sealed.is_prekey() { "pkmsg" } else { "msg" };
        let enc = Node::new("enc").attr("v", "2").attr("type", kind).bytes(sealed.bytes().to_vec());
        Some(Node::new("to").attr("jid", jid).child(enc))
    }

    /// What a phone sends to a new companion: app-state keys and a short history.
    pub(super) fn welcome(&mut self, device: &DeviceId) {
        let Some(companion) = self.companion_mut(device) else { return };
        if std::mem::replace(&mut companion.welcomed, true) {
            return;
        }
        let Some(account) = self.accounts.get(&device.number) else { return };
        let messages = [key_share(account, self.now.secs())]
            .into_iter()
            .chain([INITIAL_BOOTSTRAP, RECENT, PUSH_NAME].map(|kind| history(account, kind)))
            .collect::<Vec<_>>();
        let pn = account.pn.clone();
        for message in messages {
            let Some(target) = self.phone_encrypts(&device.number, device, message.encode_to_vec()) else { return };
            let id = new_message_id(self.now, &device.number, &mut self.rng);
            let stanza = Node::new("message")
                .attr("to", pn.with_device(device.device))
                .attr("id", id.to_string())
                .attr("type", "text")
                .attr("category", "peer")
                .children(target.nodes().iter().cloned());
            self.route_message(&DeviceId { number: device.number.clone(), device: 0 }, &stanza);
        }
    }

    /// The address a session is filed under: by LID, as every phone here has one.
    fn canonical(&self, jid: &Jid) -> Jid {
        let account = self.number_of(jid).and_then(|number| self.accounts.get(&number));
        match account {
            Some(account) if jid.server() != Server::Lid => account.lid.with_device(jid.device()),
            _ => jid.clone(),
        }
    }
}

fn protocol(message: fields::ProtocolMessage) -> Message {
    Message { protocol_message: Some(message), ..Message::default() }
}

fn key_share(account: &Account, now_secs: u64) -> Message {
    let key = fields::AppStateSyncKey {
        key_id: Some(fields::AppStateSyncKeyId { key_id: Some(vec![0, 0, 0, 0, 0, 1]) }),
        key_data: Some(fields::AppStateSyncKeyData {
            key_data: Some(account.phone.app_state_key.to_vec()),
            fingerprint: Some(fields::AppStateSyncKeyFingerprint {
                raw_id: Some(account.raw_id),
                current_index: Some(u32::from(account.last_device)),
                device_indexes: account.companions.values().map(|companion| companion.key_index).collect(),
            }),
            timestamp: Some(i64::try_from(now_secs).unwrap_or_default()),
        }),
    };
    protocol(fields::ProtocolMessage {
        r#type: Some(APP_STATE_SYNC_KEY_SHARE),
        app_state_sync_key_share: Some(fields::AppStateSyncKeyShare { keys: vec![key] }),
        ..fields::ProtocolMessage::default()
    })
}

fn history(account: &Account, kind: i32) -> Message {
    let name = history_sync::Pushname { id: Some(account.pn.to_string()), pushname: Some(account.name.clone()) };
    let history = HistorySync { sync_type: kind, progress: Some(100), pushnames: vec![name] };
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory does not fail; if it did, the client would only see an empty history.
    let compressed = zlib.write_all(&history.encode_to_vec()).and_then(|()| zlib.finish()).unwrap_or_default();
    protocol(fields::ProtocolMessage {
        r#type: Some(HISTORY_SYNC_NOTIFICATION),
        history_sync_notification: Some(fields::HistorySyncNotification {
            sync_type: Some(kind),
            chunk_order: Some(1),
            progress: Some(100),
            initial_hist_bootstrap_inline_payload: Some(compressed),
        }),
        ..fields::ProtocolMessage::default()
    })
}
