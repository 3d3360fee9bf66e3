//! Records of our messages: status with each recipient, as stored and as shown.

use crate::account::codec;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::base::ids::MessageId;
use crate::base::time::Timestamp;
use crate::storage::{AccountStore, kind};
use serde::{Deserialize, Serialize};

/// The status of a message: the highest that any recipient reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    Queued,
    Sent,
    Delivered,
    Read,
    Played,
    Failed,
}

/// The status with one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientStatus {
    pub jid: String,
    pub status: MessageStatus,
    pub at: Timestamp,
}

/// A message of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    pub id: MessageId,
    pub to: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub text: String,
    pub created_at: Timestamp,
    pub status: MessageStatus,
    pub recipients: Vec<RecipientStatus>,
    /// The reason of a failure: a stable code, and its meaning.
    pub failure: Option<(String, String)>,
}

impl MessageRecord {
    /// Records the status with a recipient. True when the status of the whole message rises.
    pub(super) fn reach(&mut self, jid: &str, status: MessageStatus, at: Timestamp) -> bool {
        match self.recipients.iter_mut().find(|recipient| recipient.jid == jid) {
            Some(known) if known.status >= status => {}
            Some(known) => (known.status, known.at) = (status, at),
            None => self.recipients.push(RecipientStatus { jid: jid.to_owned(), status, at }),
        }
        let further = status > self.status && self.status != MessageStatus::Failed;
        if further {
            self.status = status;
        }
        further
    }
}

fn decode(bytes: &[u8]) -> Result<MessageRecord, AccountError> {
    codec::decode_json(bytes, "message")
}

/// Stores a message of ours.
pub fn stored_message(store: &AccountStore, id: &MessageId) -> Result<Option<MessageRecord>, AccountError> {
    let stored = store.get(kind::MESSAGE, id.as_str().as_bytes())?;
    stored.map(|bytes| decode(&bytes)).transpose()
}

/// Reads a message of ours.
pub(super) fn of(turn: &Turn<'_>, id: &MessageId) -> Result<Option<MessageRecord>, AccountError> {
    let stored = turn.get(kind::MESSAGE, id.as_str().as_bytes())?;
    stored.map(|bytes| decode(&bytes)).transpose()
}

pub(super) fn put(turn: &mut Turn<'_>, record: &MessageRecord) {
    turn.put(kind::MESSAGE, record.id.as_str(), codec::encode_json(record));
}

/// Reads a stored row for retention and erasure.
pub(super) fn read(bytes: &[u8]) -> Result<MessageRecord, AccountError> {
    decode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_record_has_the_golden_form() {
        let record = MessageRecord {
            id: MessageId::new("3EB0AA"),
            to: "15550002222@s.whatsapp.net".into(),
            kind: "text".into(),
            text: "hello".into(),
            created_at: Timestamp(1),
            status: MessageStatus::Delivered,
            recipients: vec![RecipientStatus { jid: "a".into(), status: MessageStatus::Delivered, at: Timestamp(2) }],
            failure: Some(("service_463".into(), "meaning".into())),
        };
        let stored = codec::encode_json(&record);
        crate::golden::check("message-v1.json", &stored[1..]);
        let read: MessageRecord = codec::decode_json(&stored, "message").unwrap();
        assert_eq!(read, record);
    }

    #[test]
    fn a_status_only_rises() {
        let mut record = MessageRecord {
            id: MessageId::new("1"),
            to: "a".into(),
            kind: "text".into(),
            text: String::new(),
            created_at: Timestamp(0),
            status: MessageStatus::Sent,
            recipients: vec![],
            failure: None,
        };
        assert!(record.reach("a", MessageStatus::Read, Timestamp(1)));
        assert!(!record.reach("a", MessageStatus::Delivered, Timestamp(2)));
        assert_eq!((record.status, record.recipients[0].status), (MessageStatus::Read, MessageStatus::Read));
    }
}
