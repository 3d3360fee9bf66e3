//! The durable queue of messages that the service has not acknowledged, and its records.
//!
//! Invariant: an entry that is sealed keeps its stanza: what is written again is that, byte for byte.

use super::error::AccountError;
use super::sender_keys::KeyDelivery;
use super::{codec, proto};
use crate::base::ids::MessageId;
use crate::signal::ChainId;
use crate::storage::{AccountStore, ChangeSet, kind, owner};
use crate::wire::message::OutgoingText;
use crate::wire::{Jid, Node, decode_frame, encode_frame};
use std::collections::{BTreeMap, HashSet};

#[derive(Debug)]
pub(super) enum Stage {
    Queued,
    /// A question about it is with the service.
    Asking,
    Sealed {
        stanza: Box<Node>,
        written: bool,
    },
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) id: MessageId,
    pub(super) to: Jid,
    pub(super) text: OutgoingText,
    pub(super) stage: Stage,
    pub(super) tries: u32,
    /// The service was asked for the devices: who is still unknown does not exist.
    pub(super) looked_up: bool,
    /// Devices that have no usable prekeys.
    pub(super) unreachable: HashSet<Jid>,
    /// The devices that the stanza brings our sender key: they have it when the service has acknowledged it.
    pub(super) key: Option<KeyDelivery>,
}

/// The queue, by sequence number.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) entries: BTreeMap<u64, Outgoing>,
    pub(super) next: u64,
}

impl Outbox {
    pub(super) fn load(store: &AccountStore) -> Result<Self, AccountError> {
        let mut outbox = Self::default();
        for (key, value) in store.load(kind::OUTBOX)? {
            let corrupt = || AccountError::Record { what: "outgoing message" };
            let seq = key.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| corrupt())?;
            let record: proto::Outgoing = codec::decode(&value, "outgoing message")?;
            let stage = match &record.stanza {
                Some(bytes) => Stage::Sealed { stanza: Box::new(decode_frame(bytes)?), written: false },
                None => Stage::Queued,
            };
            let entry = Outgoing {
                id: MessageId::new(record.id()),
                to: Jid::parse(record.to())?,
                text: serde_json::from_str(record.text()).map_err(|_| corrupt())?,
                stage,
                tries: 0,
                looked_up: false,
                unreachable: HashSet::new(),
                key: read_key(&record)?,
            };
            outbox.entries.insert(seq, entry);
            outbox.next = seq + 1;
        }
        Ok(outbox)
    }

    /// The connection is gone: what was written may be lost, what was asked will not be answered.
    pub(super) fn disconnected(&mut self) {
        for entry in self.entries.values_mut() {
            match &mut entry.stage {
                Stage::Sealed { written, .. } => *written = false,
                stage => *stage = Stage::Queued,
            }
        }
    }
}

fn read_key(record: &proto::Outgoing) -> Result<Option<KeyDelivery>, AccountError> {
    let Some(chain) = record.key_chain else { return Ok(None) };
    let devices = record.key_devices.iter().map(|text| Jid::parse(text)).collect::<Result<_, _>>()?;
    Ok(Some(KeyDelivery { chain: ChainId(chain), devices }))
}

/// Stages an entry's record.
pub(super) fn put_outgoing(writes: &mut ChangeSet<owner::Router>, seq: u64, entry: &Outgoing, stanza: Option<&Node>) {
    let record = proto::Outgoing {
        id: Some(entry.id.to_string()),
        to: Some(entry.to.to_string()),
        text: serde_json::to_string(&entry.text).ok(),
        stanza: stanza.map(encode_frame),
        key_chain: entry.key.as_ref().map(|key| key.chain.0),
        key_devices: entry.key.iter().flat_map(|key| &key.devices).map(Jid::to_string).collect(),
    };
    writes.put(kind::OUTBOX, seq.to_be_bytes(), codec::encode(&record));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Server;

    fn stored(to: Jid, key: Option<KeyDelivery>) -> Vec<u8> {
        let entry = Outgoing {
            id: MessageId::new("3EB0AA"),
            to,
            text: OutgoingText { body: "hello".into(), ..OutgoingText::default() },
            stage: Stage::Queued,
            tries: 0,
            looked_up: false,
            unreachable: HashSet::new(),
            key,
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
