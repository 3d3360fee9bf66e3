//! Stored values: a format version byte, then a protobuf or JSON.

use crate::account::error::AccountError;
use crate::wire::Jid;
use prost::Message;
use serde::{Serialize, de::DeserializeOwned};

const FORMAT: u8 = 1;

pub(in crate::account) fn encode(message: &impl Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + message.encoded_len());
    out.push(FORMAT);
    out.extend_from_slice(&message.encode_to_vec());
    out
}

pub(in crate::account) fn decode<M: Message + Default>(bytes: &[u8], what: &'static str) -> Result<M, AccountError> {
    match bytes.split_first() {
        Some((&FORMAT, body)) => M::decode(body).map_err(|_| AccountError::Record { what }),
        _ => Err(AccountError::Record { what }),
    }
}

pub(in crate::account) fn encode_json(value: &impl Serialize) -> Vec<u8> {
    let mut out = vec![FORMAT];
    let written = serde_json::to_writer(&mut out, value);
    debug_assert!(written.is_ok(), "our records have string keys only");
    out
}

pub(in crate::account) fn decode_json<T: DeserializeOwned>(
    bytes: &[u8],
    what: &'static str,
) -> Result<T, AccountError> {
    match bytes.split_first() {
        Some((&FORMAT, body)) => serde_json::from_slice(body).map_err(|_| AccountError::Record { what }),
        _ => Err(AccountError::Record { what }),
    }
}

/// Reads a stored address. A malformed one is a corrupt record, never a malformed stanza.
pub(in crate::account) fn jid(text: &str, what: &'static str) -> Result<Jid, AccountError> {
    Jid::parse(text).map_err(|_| AccountError::Record { what })
}
