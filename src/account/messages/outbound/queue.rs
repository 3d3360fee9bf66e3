//! The durable queue of messages that the service has not acknowledged, and its records.
//!
//! Invariant: an entry that is sealed keeps its stanza: what is written again is that, byte for byte.

use crate::account::children::sender_keys::KeyDelivery;
use crate::account::error::AccountError;
use crate::account::{codec, proto};
use crate::base::ids::MessageId;
use crate::base::time::Monotonic;
use crate::signal::ChainId;
use crate::storage::{AccountStore, ChangeSet, kind, owner};
use crate::wire::message::OutgoingText;
use crate::wire::{Jid, Node, Server, decode_frame, encode_frame};
use std::collections::{BTreeMap, HashSet};

#[derive(Debug)]
pub(in crate::account) enum Stage {
    Queued,
    /// A question about it is with the service.
    Asking,
    Sealed {
        stanza: Box<Node>,
        /// When it was written on the present connection.
        written: Option<Monotonic>,
        /// How often no answer came to it in time, since the account was loaded.
        silences: u32,
    },
}

#[derive(Debug)]
pub(in crate::account) struct Outgoing {
    pub(in crate::account) id: MessageId,
    pub(in crate::account) to: Jid,
    /// The one address of the chat that its order goes by: a peer's LID where it is known.
    pub(in crate::account) lane: Jid,
    /// Whom a status is for.
    pub(in crate::account) recipients: Vec<Jid>,
    pub(in crate::account) text: OutgoingText,
    pub(in crate::account) stage: Stage,
    pub(in crate::account) tries: u32,
    /// The service was asked for the devices: who is still unknown does not exist.
    pub(in crate::account) looked_up: bool,
    /// Devices that have no usable prekeys.
    pub(in crate::account) unreachable: HashSet<Jid>,
    /// The devices that the stanza brings our sender key: they have it when the service has acknowledged it.
    pub(in crate::account) key: Option<KeyDelivery>,
    /// The device that it is sent to again: the message itself has its record, and this is none of its business.
    pub(in crate::account) again_to: Option<Jid>,
}

/// The queue, by sequence number.
#[derive(Debug, Default)]
pub(in crate::account) struct Outbox {
    pub(in crate::account) entries: BTreeMap<u64, Outgoing>,
    pub(in crate::account) next: u64,
}

impl Outbox {
    pub(in crate::account) fn load(store: &AccountStore) -> Result<Self, AccountError> {
        let mut outbox = Self::default();
        for (key, value) in store.load(kind::OUTBOX)? {
            let corrupt = || AccountError::Record { what: "outgoing message" };
            let seq = key.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| corrupt())?;
            let record: proto::Outgoing = codec::decode(&value, "outgoing message")?;
            let stage = match &record.stanza {
                Some(bytes) => Stage::Sealed { stanza: Box::new(decode_frame(bytes)?), written: None, silences: 0 },
                None => Stage::Queued,
            };
            let entry = Outgoing {
                id: MessageId::new(record.id()),
                lane: lane(store, &Jid::parse(record.to())?)?,
                to: Jid::parse(record.to())?,
                recipients: record.recipients.iter().map(|text| Jid::parse(text)).collect::<Result<_, _>>()?,
                text: serde_json::from_str(record.text()).map_err(|_| corrupt())?,
                stage,
                tries: 0,
                looked_up: false,
                unreachable: HashSet::new(),
                key: read_key(&record)?,
                again_to: record.again_to.as_deref().map(Jid::parse).transpose()?,
            };
            outbox.entries.insert(seq, entry);
            outbox.next = seq + 1;
        }
        Ok(outbox)
    }

    /// What is not with the service yet, in order.
    pub(in crate::account) fn unwritten(&self) -> Vec<u64> {
        let is_written = |entry: &Outgoing| matches!(entry.stage, Stage::Sealed { written: Some(_), .. });
        self.entries.iter().filter(|(_, entry)| !is_written(entry)).map(|(seq, _)| *seq).collect()
    }

    fn written(&self) -> impl Iterator<Item = (u64, Monotonic)> {
        self.entries.iter().filter_map(|(seq, entry)| match entry.stage {
            Stage::Sealed { written: Some(at), .. } => Some((*seq, at)),
            _ => None,
        })
    }

    /// When that was written which has waited longest for its acknowledgement.
    pub(in crate::account) fn oldest_written(&self) -> Option<Monotonic> {
        self.written().map(|(_, at)| at).min()
    }

    /// What was written until then and is not acknowledged, and when it was.
    pub(in crate::account) fn written_before(&self, until: Monotonic) -> Vec<(u64, Monotonic)> {
        self.written().filter(|(_, at)| *at <= until).collect()
    }

    /// Counts that no answer came in time; returns how often that was.
    pub(in crate::account) fn count_silence(&mut self, seq: u64) -> u32 {
        match self.entries.get_mut(&seq).map(|entry| &mut entry.stage) {
            Some(Stage::Sealed { silences, .. }) => {
                *silences += 1;
                *silences
            }
            _ => 0,
        }
    }

    pub(in crate::account) fn write_again(&mut self, seq: u64) {
        if let Some(Outgoing { stage: Stage::Sealed { written, .. }, .. }) = self.entries.get_mut(&seq) {
            *written = None;
        }
    }

    /// A phone number and a LID are one peer: what waits for either is one lane from now on.
    pub(in crate::account) fn merge_lanes(&mut self, pn: &Jid, lid: &Jid) {
        self.entries.values_mut().filter(|entry| entry.lane == *pn).for_each(|entry| entry.lane = lid.clone());
    }

    /// The connection is gone: what was written may be lost, what was asked will not be answered.
    pub(in crate::account) fn disconnected(&mut self) {
        for entry in self.entries.values_mut() {
            match &mut entry.stage {
                Stage::Sealed { written, .. } => *written = None,
                stage => *stage = Stage::Queued,
            }
        }
    }
}

/// The one address that a chat's order goes by, whichever of its addresses is named.
pub(in crate::account) fn lane(store: &AccountStore, chat: &Jid) -> Result<Jid, AccountError> {
    let lid = if chat.server() == Server::Pn { store.get(kind::LID_OF, chat.user().as_bytes())? } else { None };
    let lid = lid.and_then(|user| String::from_utf8(user).ok()).map(|user| Jid::new(user, Server::Lid));
    Ok(lid.unwrap_or_else(|| chat.clone()))
}

fn read_key(record: &proto::Outgoing) -> Result<Option<KeyDelivery>, AccountError> {
    let Some(chain) = record.key_chain else { return Ok(None) };
    let devices = record.key_devices.iter().map(|text| Jid::parse(text)).collect::<Result<_, _>>()?;
    Ok(Some(KeyDelivery { chain: ChainId(chain), devices }))
}

/// Stages an entry's record.
pub(in crate::account) fn put_outgoing(
    writes: &mut ChangeSet<owner::Router>,
    seq: u64,
    entry: &Outgoing,
    stanza: Option<&Node>,
) {
    let record = proto::Outgoing {
        id: Some(entry.id.to_string()),
        to: Some(entry.to.to_string()),
        text: serde_json::to_string(&entry.text).ok(),
        stanza: stanza.map(encode_frame),
        key_chain: entry.key.as_ref().map(|key| key.chain.0),
        again_to: entry.again_to.as_ref().map(Jid::to_string),
        recipients: entry.recipients.iter().map(Jid::to_string).collect(),
        key_devices: entry.key.iter().flat_map(|key| &key.devices).map(Jid::to_string).collect(),
    };
    writes.put(kind::OUTBOX, seq.to_be_bytes(), codec::encode(&record));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(to: Jid, key: Option<KeyDelivery>) -> Vec<u8> {
        let entry = Outgoing {
            id: MessageId::new("3EB0AA"),
            lane: to.clone(),
            to,
            recipients: Vec::new(),
            text: OutgoingText { body: "hello".into(), ..OutgoingText::default() },
            stage: Stage::Queued,
            tries: 0,
            looked_up: false,
            unreachable: HashSet::new(),
            key,
            again_to: None,
        };
        let mut writes = ChangeSet::<owner::Router>::default();
        put_outgoing(&mut writes, 1, &entry, Some(&Node::new("message").attr("id", "3EB0AA")));
        let mut changes = crate::storage::Changes::default();
        changes.absorb(writes);
        changes.writes[0].value.clone().unwrap()
    }

    #[test]
    fn an_outgoing_message_has_the_golden_form() {
        crate::golden::check("outgoing-v1.hex", &stored(Jid::pn("15550002222"), None));
    }

    #[test]
    fn an_outgoing_message_with_a_key_has_the_golden_form_and_keeps_whom_it_is_for() {
        let devices = vec![Jid::new("7", Server::Lid), Jid::new("7", Server::Lid).with_device(3)];
        let key = KeyDelivery { chain: ChainId(9), devices };
        let bytes = stored(Jid::new("120363000000000000", Server::Group), Some(key.clone()));
        crate::golden::check("outgoing-with-key-v1.hex", &bytes);
        let record: proto::Outgoing = codec::decode(&bytes, "outgoing message").unwrap();
        assert_eq!(read_key(&record).unwrap(), Some(key));
    }
}
