//! The durable queue of messages that the service has not acknowledged, and its records.
//!
//! Invariant: an encrypted entry keeps its stanza: what is written again is that, byte for byte.

use crate::account::children::sender_keys::KeyDelivery;
use crate::account::codec;
use crate::account::content::Content;
use crate::account::content::text::Text;
use crate::account::error::AccountError;
use crate::account::proto;
use crate::account::turn::Turn;
use crate::base::ids::MessageId;
use crate::base::time::Monotonic;
use crate::signal::ChainId;
use crate::storage::{AccountStore, kind};
use crate::wire::{Jid, Node, decode_frame, encode_frame};
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet, HashSet};

const WHAT: &str = "outgoing message";

/// The lookup that an entry waits for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::account::messages) enum Wait {
    /// Device lists of these users. `outdated` when other lists may be missing by now: they are queried too.
    Devices { users: BTreeSet<Jid>, outdated: bool },
    /// Prekeys of devices.
    Bundles,
    /// The metadata of its group.
    Group,
}

#[derive(Debug)]
pub(in crate::account::messages) enum Stage {
    Queued,
    Waiting(Wait),
    Encrypted {
        stanza: Box<Node>,
        /// When the stanza was written on the current connection.
        written: Option<Monotonic>,
        /// Acknowledgements that timed out since the account was loaded.
        ack_timeouts: u32,
    },
}

impl Stage {
    pub(in crate::account::messages) fn encrypted(stanza: Node) -> Self {
        Self::Encrypted { stanza: Box::new(stanza), written: None, ack_timeouts: 0 }
    }

    pub(in crate::account::messages) fn waits_for_group(&self) -> bool {
        matches!(self, Self::Waiting(Wait::Group))
    }

    pub(in crate::account::messages) fn waits_for_any(&self, users: &[Jid]) -> bool {
        matches!(self, Self::Waiting(Wait::Devices { users: waits, .. }) if users.iter().any(|user| waits.contains(user)))
    }
}

/// The message of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::account::messages) enum Payload {
    /// Encoded, with the name of its kind.
    Encoded { kind: String, message: Vec<u8> },
    /// A row of the first format.
    Text(Text),
    /// A resend: only its stanza is stored.
    None,
}

#[derive(Debug)]
pub(in crate::account::messages) struct Outgoing {
    pub(in crate::account::messages) id: MessageId,
    pub(in crate::account::messages) to: Jid,
    /// The chat whose order it keeps: a peer's LID where that is known.
    pub(in crate::account::messages) lane: Jid,
    /// The recipients of a status.
    pub(in crate::account::messages) recipients: Vec<Jid>,
    pub(in crate::account::messages) payload: Payload,
    pub(in crate::account::messages) stage: Stage,
    pub(in crate::account::messages) tries: u32,
    /// The device lists were queried: a user who is still unknown does not exist.
    pub(in crate::account::messages) looked_up: bool,
    /// Devices without usable prekeys.
    pub(in crate::account::messages) unreachable: HashSet<Jid>,
    /// Devices that get our sender key with the stanza: holders once it is acknowledged.
    pub(in crate::account::messages) key: Option<KeyDelivery>,
    /// Set for a resend: its one target device. A resend never changes the message's status.
    pub(in crate::account::messages) resend_to: Option<Jid>,
}

impl Outgoing {
    pub(in crate::account::messages) fn new(id: MessageId, to: Jid, lane: Jid, payload: Payload) -> Self {
        Self {
            id,
            to,
            lane,
            recipients: Vec::new(),
            payload,
            stage: Stage::Queued,
            tries: 0,
            looked_up: false,
            unreachable: HashSet::new(),
            key: None,
            resend_to: None,
        }
    }

    /// Device lists may be missing though they were queried: a list was forgotten, or the group has other members.
    pub(in crate::account::messages) fn expire_lookup(&mut self) {
        self.looked_up = false;
        if let Stage::Waiting(Wait::Devices { outdated, .. }) = &mut self.stage {
            *outdated = true;
        }
    }

    /// The kind's name and the encoded message. A row of the first format is encoded now.
    pub(in crate::account::messages) fn encoded(&mut self, turn: &mut Turn<'_>) -> (String, Vec<u8>) {
        if let Payload::Text(text) = &self.payload {
            let content = Content::Text(text.clone());
            let message = content.to_message(&mut turn.ctx.rng).encode_to_vec();
            self.payload = Payload::Encoded { kind: content.kind().to_owned(), message };
        }
        match &self.payload {
            Payload::Encoded { kind, message } => (kind.clone(), message.clone()),
            Payload::Text(_) | Payload::None => (String::new(), Vec::new()),
        }
    }
}

/// The queue, by sequence number.
#[derive(Debug, Default)]
pub(in crate::account::messages) struct Outbox {
    pub(in crate::account::messages) entries: BTreeMap<u64, Outgoing>,
    next: u64,
}

impl Outbox {
    /// Loads the queue. Every lane is the recipient's address until [`set_lanes`](Self::set_lanes).
    pub(in crate::account::messages) fn load(store: &AccountStore) -> Result<Self, AccountError> {
        let mut outbox = Self::default();
        for (key, value) in store.load(kind::OUTBOX)? {
            let corrupt = || AccountError::Record { what: WHAT };
            let seq = key.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| corrupt())?;
            outbox.entries.insert(seq, read(&value)?);
            outbox.next = seq + 1;
        }
        Ok(outbox)
    }

    /// The sequence number of the next entry.
    pub(in crate::account::messages) fn next_seq(&self) -> u64 {
        self.next
    }

    pub(in crate::account::messages) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds an entry. The caller writes its record.
    pub(in crate::account::messages) fn push(&mut self, entry: Outgoing) {
        self.entries.insert(self.next, entry);
        self.next += 1;
    }

    pub(in crate::account::messages) fn users(&self) -> Vec<Jid> {
        self.entries.values().map(|entry| entry.to.clone()).collect()
    }

    /// Sets the lane of every entry, in their order.
    pub(in crate::account::messages) fn set_lanes(&mut self, lanes: Vec<Jid>) {
        self.entries.values_mut().zip(lanes).for_each(|(entry, lane)| entry.lane = lane);
    }

    /// Sequence numbers of entries not yet written on this connection, in order.
    pub(in crate::account::messages) fn unwritten(&self) -> Vec<u64> {
        let is_written = |entry: &Outgoing| matches!(entry.stage, Stage::Encrypted { written: Some(_), .. });
        self.entries.iter().filter(|(_, entry)| !is_written(entry)).map(|(seq, _)| *seq).collect()
    }

    fn written(&self) -> impl Iterator<Item = (u64, Monotonic)> {
        self.entries.iter().filter_map(|(seq, entry)| match entry.stage {
            Stage::Encrypted { written: Some(at), .. } => Some((*seq, at)),
            _ => None,
        })
    }

    /// When the oldest unacknowledged entry was written.
    pub(in crate::account::messages) fn oldest_written(&self) -> Option<Monotonic> {
        self.written().map(|(_, at)| at).min()
    }

    /// Unacknowledged entries written until then, with the time of writing.
    pub(in crate::account::messages) fn written_before(&self, until: Monotonic) -> Vec<(u64, Monotonic)> {
        self.written().filter(|(_, at)| *at <= until).collect()
    }

    /// Counts an acknowledgement that timed out. Returns the count.
    pub(in crate::account::messages) fn count_ack_timeout(&mut self, seq: u64) -> u32 {
        match self.entries.get_mut(&seq).map(|entry| &mut entry.stage) {
            Some(Stage::Encrypted { ack_timeouts, .. }) => {
                *ack_timeouts += 1;
                *ack_timeouts
            }
            _ => 0,
        }
    }

    pub(in crate::account::messages) fn write_again(&mut self, seq: u64) {
        if let Some(Outgoing { stage: Stage::Encrypted { written, .. }, .. }) = self.entries.get_mut(&seq) {
            *written = None;
        }
    }

    /// Merges the lanes of a phone number and a LID that are one user.
    pub(in crate::account::messages) fn merge_lanes(&mut self, pn: &Jid, lid: &Jid) {
        self.entries.values_mut().filter(|entry| entry.lane == *pn).for_each(|entry| entry.lane = lid.clone());
    }

    /// The connection is closed: written stanzas may be lost, and requests will not be answered.
    pub(in crate::account::messages) fn disconnected(&mut self) {
        for entry in self.entries.values_mut() {
            match &mut entry.stage {
                Stage::Encrypted { written, .. } => *written = None,
                stage => *stage = Stage::Queued,
            }
        }
    }

    /// True while a message to the group that was queued before `behind` is unacknowledged.
    pub(in crate::account::messages) fn is_on_its_way(&self, group: &Jid, behind: u64) -> bool {
        let mut earlier = self.entries.range(..behind).map(|(_, entry)| entry).filter(|entry| entry.to == *group);
        earlier.any(|entry| entry.resend_to.is_none() && matches!(entry.stage, Stage::Encrypted { .. }))
    }

    /// Devices of the group that get a sender key with an unacknowledged message.
    pub(in crate::account::messages) fn keys_on_their_way(&self, group: &Jid) -> Vec<KeyDelivery> {
        let entries = self.entries.values().filter(|entry| entry.to == *group);
        entries.filter_map(|entry| entry.key.clone()).collect()
    }
}

fn read(value: &[u8]) -> Result<Outgoing, AccountError> {
    let corrupt = || AccountError::Record { what: WHAT };
    let record: proto::Outgoing = codec::decode(value, WHAT)?;
    let to = codec::jid(record.to(), WHAT)?;
    let payload = match (&record.message, &record.text) {
        (Some(message), _) => Payload::Encoded { kind: record.kind().to_owned(), message: message.clone() },
        (None, Some(text)) => Payload::Text(serde_json::from_str(text).map_err(|_| corrupt())?),
        (None, None) if record.stanza.is_some() => Payload::None,
        (None, None) => return Err(corrupt()),
    };
    let stage = match &record.stanza {
        Some(bytes) => Stage::encrypted(decode_frame(bytes).map_err(|_| corrupt())?),
        None => Stage::Queued,
    };
    Ok(Outgoing {
        recipients: record.recipients.iter().map(|text| codec::jid(text, WHAT)).collect::<Result<_, _>>()?,
        stage,
        key: read_key(&record)?,
        resend_to: record.again_to.as_deref().map(|text| codec::jid(text, WHAT)).transpose()?,
        ..Outgoing::new(MessageId::new(record.id()), to.clone(), to, payload)
    })
}

fn read_key(record: &proto::Outgoing) -> Result<Option<KeyDelivery>, AccountError> {
    let Some(chain) = record.key_chain else { return Ok(None) };
    let devices = record.key_devices.iter().map(|text| codec::jid(text, WHAT)).collect::<Result<_, _>>()?;
    Ok(Some(KeyDelivery { chain: ChainId(chain), devices }))
}

/// Writes an entry's record.
pub(in crate::account::messages) fn put(turn: &mut Turn<'_>, seq: u64, entry: &Outgoing, stanza: Option<&Node>) {
    turn.put(kind::OUTBOX, seq.to_be_bytes(), encode(entry, stanza));
}

fn encode(entry: &Outgoing, stanza: Option<&Node>) -> Vec<u8> {
    let (text, encoded) = match &entry.payload {
        Payload::Encoded { kind, message } => (None, Some((kind.clone(), message.clone()))),
        Payload::Text(text) => (serde_json::to_string(text).ok(), None),
        Payload::None => (None, None),
    };
    let (kind, message) = encoded.unzip();
    let record = proto::Outgoing {
        id: Some(entry.id.to_string()),
        to: Some(entry.to.to_string()),
        text,
        kind,
        message,
        stanza: stanza.map(encode_frame),
        key_chain: entry.key.as_ref().map(|key| key.chain.0),
        again_to: entry.resend_to.as_ref().map(Jid::to_string),
        recipients: entry.recipients.iter().map(Jid::to_string).collect(),
        key_devices: entry.key.iter().flat_map(|key| &key.devices).map(Jid::to_string).collect(),
    };
    codec::encode(&record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Server;

    fn stored(to: Jid, payload: Payload, key: Option<KeyDelivery>) -> Vec<u8> {
        let entry = Outgoing { key, ..Outgoing::new(MessageId::new("3EB0AA"), to.clone(), to, payload) };
        encode(&entry, Some(&Node::new("message").attr("id", "3EB0AA")))
    }

    fn text() -> Payload {
        Payload::Text(Text { body: "hello".into(), ..Text::default() })
    }

    #[test]
    fn queue_record_of_the_first_format_has_the_golden_form_and_is_read_as_a_text() {
        let bytes = stored(Jid::pn("15550002222"), text(), None);
        crate::golden::check("outgoing-v1.hex", &bytes);
        assert_eq!(read(&bytes).unwrap().payload, text());
    }

    #[test]
    fn queue_record_with_an_encoded_message_has_the_golden_form_and_is_read_back() {
        let payload = Payload::Encoded { kind: "text".into(), message: vec![1, 2, 3] };
        let bytes = stored(Jid::pn("15550002222"), payload.clone(), None);
        crate::golden::check("outgoing-v2.hex", &bytes);
        assert_eq!(read(&bytes).unwrap().payload, payload);
    }

    #[test]
    fn queue_record_with_nothing_to_send_is_corrupt() {
        let bob = Jid::pn("15550002222");
        let entry = |payload| Outgoing::new(MessageId::new("3EB0AA"), bob.clone(), bob.clone(), payload);
        let stanza = Node::new("message").attr("id", "3EB0AA");
        assert!(read(&encode(&entry(Payload::None), Some(&stanza))).is_ok(), "a resend");
        assert!(read(&encode(&entry(text()), None)).is_ok(), "a message that waits");
        assert!(read(&encode(&entry(Payload::None), None)).is_err());
    }

    #[test]
    fn queue_record_with_a_sender_key_has_the_golden_form_and_keeps_its_devices() {
        let devices = vec![Jid::new("7", Server::Lid), Jid::new("7", Server::Lid).with_device(3)];
        let key = KeyDelivery { chain: ChainId(9), devices };
        let bytes = stored(Jid::new("120363000000000000", Server::Group), text(), Some(key.clone()));
        crate::golden::check("outgoing-with-key-v1.hex", &bytes);
        assert_eq!(read(&bytes).unwrap().key, Some(key));
    }
}
