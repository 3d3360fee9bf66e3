//! Sending: a durable queue, from the request to the service's acknowledgement (`wire-protocol.md` 1.11).
//!
//! Invariants: a message is accepted only with its record; the ratchets and the finished stanza are one commit, and what is
//! written again after a reconnect is that stanza, byte for byte. Within a chat messages go out in order.

pub(in crate::account) mod group;
pub(in crate::account) mod outcome;
pub(in crate::account) mod queue;
pub(in crate::account) mod targets;

use crate::account::children::device_sync::{read_usync, usync_query};
use crate::account::children::session_cipher::Enciphered;
use crate::account::error::AccountError;
use crate::account::messages::outbound::queue::{Outgoing, Stage, lane, put_outgoing};
use crate::account::messages::outbound::targets::Targets;
use crate::account::messages::record::{MessageRecord, MessageStatus};
use crate::account::own_device::Link;
use crate::account::router::{Refusal, Reply, Router, Turn};
use crate::account::turn::requests::Purpose;
use crate::account::view::AccountState;
use crate::account::{Children, codec};
use crate::base::address::ProtocolAddress;
use crate::base::ids::{Fingerprint, MessageId, random_hex};
use crate::signal::VerifiedBundle;
use crate::storage::{ChangeSet, kind, owner};
use crate::wire::message::{OutgoingText, device_sent, new_message_id, pad};
use crate::wire::prekeys::{FetchedBundle, read_user};
use crate::wire::{Jid, Node, Server, adv, reporting};
use prost::Message;
use std::collections::{HashMap, HashSet};

/// Messages that may wait in one account.
const MAX_WAITING: usize = 10_000;
/// Prekeys fetched at a time: each begins a session, and others' turns come between.
const MAX_BUNDLES: usize = 32;
/// How often the service is asked about one message before it fails.
const MAX_TRIES: u32 = 3;

/// A message that a caller wants sent.
#[derive(Debug, Clone)]
pub struct SendRequest {
    pub to: Jid,
    /// Whom a status is for; empty otherwise.
    pub recipients: Vec<Jid>,
    pub text: OutgoingText,
    /// The same request gets the same answer.
    pub idempotency: Option<Fingerprint>,
}

/// Ciphertexts for devices.
#[derive(Default)]
pub(in crate::account) struct SealedEach {
    /// `<to jid><enc>`.
    pub(in crate::account) participants: Vec<Node>,
    pub(in crate::account) reached: Vec<Jid>,
    /// Whether one of them begins a session: the stanza then bears our identity.
    pub(in crate::account) begins: bool,
}

/// Our identity, as our phone has signed it.
pub(in crate::account) fn device_identity(link: &Link) -> Node {
    Node::new("device-identity").bytes(link.device_identity.clone())
}

/// What can be done with a message now.
pub(in crate::account) enum Step {
    Asked,
    Sealed(Box<Node>),
    Failed { code: &'static str, meaning: &'static str },
}

const NOT_FOUND: Step = Step::Failed { code: "recipient_not_found", meaning: "the recipient is not on WhatsApp" };
pub(in crate::account) const NO_DEVICES: Step = Step::Failed {
    code: "no_recipient_devices",
    meaning: "the message could be encrypted for none of the recipient's devices",
};

#[derive(serde::Serialize, serde::Deserialize)]
pub(in crate::account) struct IdempotencyRecord {
    body: String,
    pub(in crate::account) answer: MessageRecord,
}

impl Router {
    /// Takes a message into the queue. When this turn is durable, it will be sent.
    pub(in crate::account) fn accept<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        mut request: SendRequest,
    ) -> Result<Reply, AccountError> {
        if self.device.link.is_none() || self.view.state == AccountState::LoggedOut {
            return Ok(Reply::Refused(Refusal::NotLinked));
        }
        if let Some(fingerprint) = &request.idempotency
            && let Some(stored) = self.store.get(kind::IDEMPOTENCY, &fingerprint.request)?
        {
            let stored: IdempotencyRecord = codec::decode_json(&stored, "idempotency")?;
            let same = stored.body == hex::encode(fingerprint.body);
            if turn.now < stored.answer.created_at.plus(Fingerprint::KEPT) {
                return Ok(if same {
                    Reply::Accepted(Box::new(stored.answer))
                } else {
                    Reply::Refused(Refusal::IdempotencyMismatch)
                });
            }
        }
        if self.outbox.entries.len() >= MAX_WAITING {
            return Ok(Reply::Refused(Refusal::QueueFull));
        }
        if let Some(quoted) = &request.text.quoted_id {
            request.text.quoted_participant = self.author_of(&request.to, &MessageId::new(quoted.as_str()))?;
        }
        let user = self.own_pn().user().to_owned();
        let record = MessageRecord {
            id: new_message_id(turn.now, &user, &mut self.rng),
            to: request.to.to_string(),
            kind: "text".to_owned(),
            text: request.text.body.clone(),
            created_at: turn.now,
            status: MessageStatus::Queued,
            recipients: Vec::new(),
            failure: None,
        };
        let entry = Outgoing {
            id: record.id.clone(),
            lane: lane(&self.store, &request.to)?,
            to: request.to,
            recipients: request.recipients,
            text: request.text,
            stage: Stage::Queued,
            tries: 0,
            looked_up: false,
            unreachable: HashSet::new(),
            key: None,
            again_to: None,
        };
        let mut writes = ChangeSet::<owner::Router>::default();
        put_outgoing(&mut writes, self.outbox.next, &entry, None);
        if let Some(fingerprint) = request.idempotency {
            let stored = IdempotencyRecord { body: hex::encode(fingerprint.body), answer: record.clone() };
            writes.put(kind::IDEMPOTENCY, fingerprint.request, codec::encode_json(&stored));
        }
        turn.absorb(writes);
        self.put_message(turn, &record);
        self.outbox.entries.insert(self.outbox.next, entry);
        self.outbox.next += 1;
        Ok(Reply::Accepted(Box::new(record)))
    }

    pub(in crate::account) fn message(&self, id: &MessageId) -> Result<Option<MessageRecord>, AccountError> {
        let stored = self.store.get(kind::MESSAGE, id.as_str().as_bytes())?;
        stored.map(|bytes| codec::decode_json(&bytes, "message")).transpose()
    }

    pub(in crate::account) fn put_message<C>(&self, turn: &mut Turn<'_, C>, record: &MessageRecord) {
        let mut writes = ChangeSet::<owner::Router>::default();
        writes.put(kind::MESSAGE, record.id.as_str(), codec::encode_json(record));
        turn.absorb(writes);
    }

    /// Moves every message on as far as it goes. A chat whose head waits for the service holds its later messages back.
    pub(in crate::account) async fn pump<C: Children>(&mut self, turn: &mut Turn<'_, C>) -> Result<(), AccountError> {
        let Some(link) = self.device.link.clone() else { return Ok(()) };
        if !self.connection.is_logged_in() {
            return Ok(());
        }
        let mut held = HashSet::new();
        for seq in self.outbox.unwritten() {
            let Some(mut entry) = self.outbox.entries.remove(&seq) else { continue };
            let chat = entry.lane.clone();
            if !held.contains(&chat) && matches!(entry.stage, Stage::Queued) {
                match self.prepare(turn, &link, seq, &mut entry).await? {
                    Step::Asked => entry.stage = Stage::Asking,
                    Step::Sealed(stanza) => {
                        let mut writes = ChangeSet::<owner::Router>::default();
                        put_outgoing(&mut writes, seq, &entry, Some(&stanza));
                        turn.absorb(writes);
                        entry.stage = Stage::Sealed { stanza, written: None, silences: 0 };
                    }
                    Step::Failed { code, meaning } => {
                        self.fail(turn, seq, &entry.id, code, meaning)?;
                        continue;
                    }
                }
            }
            match &mut entry.stage {
                Stage::Sealed { stanza, written, .. } if written.is_none() => {
                    *written = Some(turn.steady);
                    self.write(turn, (**stanza).clone());
                }
                Stage::Sealed { .. } => {}
                Stage::Queued | Stage::Asking => {
                    held.insert(chat);
                }
            }
            self.outbox.entries.insert(seq, entry);
        }
        Ok(())
    }

    async fn prepare<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        link: &Link,
        seq: u64,
        entry: &mut Outgoing,
    ) -> Result<Step, AccountError> {
        if entry.to.is_shared() {
            return self.prepare_shared(turn, link, seq, entry).await;
        }
        let (to, own) = (entry.to.clone(), link.jid.bare());
        let asked = [to.clone(), own.clone()];
        let [recipient, ourselves] = turn
            .children
            .devices(move |devices| Ok::<_, AccountError>([devices.known(&asked[0])?, devices.known(&asked[1])?]))
            .await??;
        let (Some(recipient), Some(ourselves)) = (&recipient, &ourselves) else {
            if entry.looked_up {
                return Ok(NOT_FOUND);
            }
            let missing: Vec<Jid> = [(recipient.is_none(), to), (ourselves.is_none(), own)]
                .into_iter()
                .filter_map(|(missing, user)| missing.then_some(user))
                .collect();
            let id = self.pending.ask(Purpose::Usync { seq }, turn.steady);
            let sid = random_hex::<8>(&mut self.rng);
            self.write(turn, usync_query(&id, &sid, &missing));
            return Ok(Step::Asked);
        };
        let targets = Targets::choose(link, recipient, ourselves, &entry.unreachable);
        if targets.theirs.is_empty() {
            return Ok(NO_DEVICES);
        }
        let all: Vec<Jid> = targets.all().cloned().collect();
        if self.ask_for_bundles(turn, seq, &all).await? {
            return Ok(Step::Asked);
        }
        self.seal(turn, link, entry, &targets).await
    }

    /// Asks for the prekeys of those devices that we have no session with; false when there are none.
    pub(in crate::account) async fn ask_for_bundles<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        seq: u64,
        devices: &[Jid],
    ) -> Result<bool, AccountError> {
        let mut missing = self.without_session(turn, devices).await?;
        if missing.is_empty() {
            return Ok(false);
        }
        missing.truncate(MAX_BUNDLES);
        let users = missing.iter().map(|device| Node::new("user").attr("jid", device));
        let key = Node::new("key").children(users);
        let purpose = Purpose::Bundles { seq, devices: missing };
        let iq = self.ask(turn, purpose, "encrypt", "get").child(key);
        self.write(turn, iq);
        Ok(true)
    }

    pub(in crate::account) async fn without_session<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        devices: &[Jid],
    ) -> Result<Vec<Jid>, AccountError> {
        let mut by_address: Vec<(ProtocolAddress, Jid)> = Vec::new();
        for device in devices {
            by_address.push((self.address(turn, device).await?, device.clone()));
        }
        let addresses = by_address.iter().map(|(address, _)| address.clone()).collect();
        let now = turn.now;
        let missing = turn.children.sessions(move |sessions| sessions.missing(addresses, now)).await??;
        let missing: HashSet<_> = missing.into_iter().collect();
        Ok(by_address.into_iter().filter(|(address, _)| missing.contains(address)).map(|(_, jid)| jid).collect())
    }

    pub(in crate::account) async fn address<C: Children>(
        &self,
        turn: &mut Turn<'_, C>,
        device: &Jid,
    ) -> Result<ProtocolAddress, AccountError> {
        let device = device.clone();
        let canonical = turn.children.devices(move |devices| devices.canonical(&device)).await??;
        Ok(canonical.protocol_address())
    }

    /// Encrypts for every device and builds the stanza.
    async fn seal<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        link: &Link,
        entry: &Outgoing,
        targets: &Targets,
    ) -> Result<Step, AccountError> {
        let message = entry.text.to_message(&mut self.rng);
        let secret = secret_of(&message);
        let copy = device_sent(&targets.to.to_string(), message.clone()).encode_to_vec();
        let message = message.encode_to_vec();
        let theirs = targets.theirs.iter().map(|device| (device.clone(), message.clone()));
        let ours = targets.ours.iter().map(|device| (device.clone(), copy.clone()));
        let sealed = self.seal_each(turn, theirs.chain(ours).collect()).await?;
        if !sealed.reached.iter().any(|device| targets.theirs.contains(device)) {
            return Ok(NO_DEVICES);
        }
        let sender =
            if targets.to.server() == Server::Lid { link.lid.as_ref().unwrap_or(&link.jid) } else { &link.jid };
        let reporting = reporting::token(&message, &secret, &entry.id, sender, &targets.to).map(reporting::node);
        let token = self.token_for(turn, &targets.to).await?;
        self.keep_sent(turn, entry, &targets.to, message);
        let stanza = Node::new("message")
            .attr("to", &targets.to)
            .attr("id", entry.id.to_string())
            .attr("type", "text")
            .child(Node::new("participants").children(sealed.participants))
            .children(sealed.begins.then(|| device_identity(link)))
            .children(reporting)
            .children(token);
        Ok(Step::Sealed(Box::new(stanza)))
    }

    /// Encrypts each plaintext for its device; one that cannot be is left out.
    pub(in crate::account) async fn seal_each<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        plaintexts: Vec<(Jid, Vec<u8>)>,
    ) -> Result<SealedEach, AccountError> {
        let (mut devices, mut addressed) = (Vec::new(), Vec::new());
        for (device, plaintext) in plaintexts {
            addressed.push((self.address(turn, &device).await?, pad(plaintext, &mut self.rng)));
            devices.push(device);
        }
        let now = turn.now;
        let (sealed, writes) = turn.children.sessions(move |sessions| sessions.seal(addressed, now)).await??;
        turn.absorb(writes);
        let mut each = SealedEach::default();
        for (device, sealed) in devices.into_iter().zip(sealed) {
            match sealed {
                Ok(Enciphered { kind, bytes }) => {
                    each.begins |= kind == "pkmsg";
                    let enc = Node::new("enc").attr("v", "2").attr("type", kind).bytes(bytes);
                    each.participants.push(Node::new("to").attr("jid", &device).child(enc));
                    each.reached.push(device);
                }
                Err(error) => {
                    tracing::warn!(account = %self.id, device = %device.redacted(), %error, "a device is left out");
                }
            }
        }
        Ok(each)
    }

    pub(in crate::account) async fn on_usync<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        seq: u64,
        iq: &Node,
    ) -> Result<(), AccountError> {
        let users = read_usync(iq)?;
        let learned = turn.children.devices(move |devices| devices.learn(&users)).await??;
        self.file(turn, learned).await?;
        if let Some(entry) = self.outbox.entries.get_mut(&seq) {
            entry.looked_up = true;
        }
        self.ask_again_for(seq);
        Ok(())
    }

    /// What a message waited for has come: it is taken up again.
    pub(in crate::account) fn ask_again_for(&mut self, seq: u64) {
        if let Some(entry) = self.outbox.entries.get_mut(&seq) {
            entry.stage = Stage::Queued;
        }
    }

    pub(in crate::account) async fn on_bundles<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        seq: u64,
        asked: Vec<Jid>,
        iq: &Node,
    ) -> Result<(), AccountError> {
        let fetched: Vec<FetchedBundle> =
            iq.require_child("list")?.all("user").map(read_user).collect::<Result<_, _>>()?;
        let (mut usable, mut by_address) = (Vec::new(), HashMap::new());
        let mut unreachable: HashSet<Jid> = asked.into_iter().collect();
        for FetchedBundle { device, result } in fetched {
            match result {
                Err(why) => tracing::debug!(account = %self.id, device = %device.redacted(), %why, "no prekeys"),
                Ok((bundle, identity)) => match self.verify_bundle(turn, &device, bundle, identity.as_deref()).await? {
                    Ok(bundle) => {
                        unreachable.remove(&device);
                        let address = self.address(turn, &device).await?;
                        by_address.insert(address.clone(), device);
                        usable.push((address, bundle));
                    }
                    Err(reason) => {
                        tracing::warn!(account = %self.id, device = %device.redacted(), reason, "prekeys are refused");
                    }
                },
            }
        }
        let now = turn.now;
        let done = turn.children.sessions(move |sessions| sessions.establish(usable, now)).await??;
        turn.absorb(done.writes);
        for device in done.changed.iter().filter_map(|address| by_address.get(address)) {
            self.identity_changed(turn, device).await?;
        }
        for (address, error) in done.refused {
            tracing::warn!(account = %self.id, %address, %error, "no session could be set up");
            // Asked again, the service would give the same.
            unreachable.extend(by_address.remove(&address));
        }
        if let Some(entry) = self.outbox.entries.get_mut(&seq) {
            entry.unreachable.extend(unreachable);
            entry.stage = Stage::Queued;
        }
        Ok(())
    }

    /// A bundle is used only with its signed prekey's signature and, for companions, the phone's voucher.
    pub(in crate::account) async fn verify_bundle<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        device: &Jid,
        bundle: crate::signal::PreKeyBundle,
        identity: Option<&[u8]>,
    ) -> Result<Result<VerifiedBundle, String>, AccountError> {
        let key = bundle.identity;
        let bundle = match bundle.verify() {
            Ok(bundle) => bundle,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if device.device() == 0 {
            return Ok(Ok(bundle));
        }
        let Some(blob) = identity else {
            return Ok(Err("the companion's device identity is missing".to_owned()));
        };
        let phone = self.address(turn, &device.bare()).await?;
        let known = turn.children.sessions(move |sessions| sessions.identity(&phone)).await??;
        let verified = adv::verify_companion(blob, &key, known.as_ref());
        Ok(verified.map(|_| bundle).map_err(|error| error.to_string()))
    }

    /// The service did not answer: the message is taken up again, a few times.
    pub(in crate::account) fn retry_later<C>(&mut self, turn: &mut Turn<'_, C>, seq: u64) -> Result<(), AccountError> {
        let Some(entry) = self.outbox.entries.get_mut(&seq) else { return Ok(()) };
        entry.tries += 1;
        entry.stage = Stage::Queued;
        if entry.tries > MAX_TRIES {
            let id = entry.id.clone();
            self.fail(turn, seq, &id, "service_unavailable", "the service did not answer in time")?;
        }
        Ok(())
    }
}

/// What later add-ons to a message, and its reporting token, are keyed by.
pub(in crate::account) fn secret_of(message: &crate::wire::proto::Message) -> Vec<u8> {
    let context = message.message_context_info.as_ref();
    context.and_then(|context| context.message_secret.clone()).unwrap_or_default()
}
