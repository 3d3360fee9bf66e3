//! Sent messages, kept for resends after a retry receipt (`wire-protocol.md` 1.14).

use crate::account::codec;
use crate::account::error::AccountError;
use crate::account::proto;
use crate::account::turn::Turn;
use crate::base::ids::MessageId;
use crate::base::time::Timestamp;
use crate::storage::kind;
use crate::wire::Jid;

/// A message that was sent.
pub(super) struct Sent {
    pub(super) to: Jid,
    /// Recipients of a status; empty otherwise.
    pub(super) recipients: Vec<Jid>,
    /// The encoded message.
    pub(super) message: Vec<u8>,
    /// When it was encrypted.
    pub(super) at: Timestamp,
}

pub(super) fn put(turn: &mut Turn<'_>, id: &MessageId, to: &Jid, recipients: &[Jid], message: Vec<u8>) {
    let sent = proto::Sent {
        to: Some(to.to_string()),
        message: Some(message),
        at_ms: Some(turn.now.0),
        recipients: recipients.iter().map(Jid::to_string).collect(),
    };
    turn.put(kind::SENT, id.as_str(), codec::encode(&sent));
}

pub(super) fn of(turn: &Turn<'_>, id: &MessageId) -> Result<Option<Sent>, AccountError> {
    turn.get(kind::SENT, id.as_str().as_bytes())?.map(|bytes| read(&bytes)).transpose()
}

/// Reads a stored row.
pub(super) fn read(bytes: &[u8]) -> Result<Sent, AccountError> {
    const WHAT: &str = "sent message";
    let sent: proto::Sent = codec::decode(bytes, WHAT)?;
    let recipients = sent.recipients.iter().map(|text| codec::jid(text, WHAT)).collect::<Result<_, _>>()?;
    let (to, at) = (codec::jid(sent.to(), WHAT)?, Timestamp(sent.at_ms()));
    Ok(Sent { to, recipients, message: sent.message.unwrap_or_default(), at })
}
