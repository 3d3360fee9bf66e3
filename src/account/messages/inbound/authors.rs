//! Authors of messages in groups, for quotes.

use crate::account::error::AccountError;
use crate::account::messages::record;
use crate::account::turn::Turn;
use crate::base::ids::MessageId;
use crate::base::time::Timestamp;
use crate::storage::kind;
use crate::wire::Jid;
use sha2::{Digest, Sha256};

const FORMAT: u8 = 1;

fn key(chat: &Jid, id: &MessageId) -> Vec<u8> {
    let digest = Sha256::digest([chat.to_string(), id.to_string()].join("\0"));
    digest[..16].to_vec()
}

pub(super) fn put(turn: &mut Turn<'_>, chat: &Jid, id: &MessageId, author: &Jid) {
    let value = [&[FORMAT], author.bare().to_string().as_bytes(), &turn.now.0.to_be_bytes()].concat();
    turn.put(kind::AUTHOR, key(chat, id), value);
}

/// The author of a message that is to be quoted in this chat; `None` when unknown.
pub(in crate::account::messages) fn of(
    turn: &Turn<'_>,
    chat: &Jid,
    id: &MessageId,
) -> Result<Option<String>, AccountError> {
    if record::of(turn, id)?.is_some_and(|ours| ours.to == chat.to_string()) {
        let named = turn.own().map(|own| own.lid.as_ref().filter(|_| chat.is_group()).unwrap_or(&own.jid).bare());
        return Ok(named.map(|jid| jid.to_string()));
    }
    if !chat.is_group() {
        return Ok(Some(chat.to_string()));
    }
    Ok(turn.get(kind::AUTHOR, &key(chat, id))?.and_then(|value| read(&value).map(|(author, _)| author)))
}

/// Reads a stored row: the author, and when it was written.
pub(in crate::account::messages) fn read(value: &[u8]) -> Option<(String, Timestamp)> {
    let (text, at) = value.get(1..)?.split_last_chunk()?;
    Some((String::from_utf8(text.to_vec()).ok()?, Timestamp(u64::from_be_bytes(*at))))
}
