//! The two message forms of one-to-one sessions (`wire-protocol.md` 2.1), parsed once, at the edge.

use super::SignalError;
use super::keys::{IdentityKey, PublicKey};
use super::message_key::MAC_LENGTH;
use super::prekey::{PreKeyId, SignedPreKeyId};
use super::proto;
use prost::Message;

/// Version 3 of the message (high nibble) under version 3 of the protocol (low nibble).
pub(super) const VERSION_BYTE: u8 = 0x33;

/// What [`Session::encrypt`](super::Session::encrypt) yields: the serialized form, by its `enc` type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ciphertext {
    /// `msg`: the peer is known to hold the session.
    Signal(Vec<u8>),
    /// `pkmsg`: carries what the peer needs to set up the session.
    PreKey(Vec<u8>),
}

/// A parsed Signal message.
#[derive(Debug, Clone)]
pub struct SignalMessage {
    pub(super) ratchet_key: PublicKey,
    pub(super) counter: u32,
    pub(super) ciphertext: Vec<u8>,
    /// Version byte and protobuf: what the code authenticates.
    pub(super) framed: Vec<u8>,
    pub(super) mac: [u8; MAC_LENGTH],
}

impl SignalMessage {
    /// Checks version and structure. The code can be checked only by a session.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignalError> {
        let malformed = SignalError::Malformed { what: "signal message" };
        check_version(bytes)?;
        let (framed, mac) = bytes.split_last_chunk::<MAC_LENGTH>().ok_or(malformed.clone())?;
        let body = framed.get(1..).ok_or(malformed.clone())?;
        let body = proto::SignalMessage::decode(body).map_err(|_| malformed.clone())?;
        let (Some(key), Some(counter), Some(ciphertext)) = (body.ratchet_key, body.counter, body.ciphertext) else {
            return Err(malformed);
        };
        Ok(Self {
            ratchet_key: PublicKey::parse(&key, "ratchet key of the message")?,
            counter,
            ciphertext,
            framed: framed.to_vec(),
            mac: *mac,
        })
    }

    /// The sender's ratchet key.
    pub fn ratchet_key(&self) -> &PublicKey {
        &self.ratchet_key
    }

    /// The message's number within its chain.
    pub fn counter(&self) -> u32 {
        self.counter
    }

    /// Version byte and protobuf, ready to be authenticated.
    pub(super) fn frame(ratchet_key: &PublicKey, counter: u32, previous_counter: u32, ciphertext: Vec<u8>) -> Vec<u8> {
        let body = proto::SignalMessage {
            ratchet_key: Some(ratchet_key.typed().to_vec()),
            counter: Some(counter),
            previous_counter: Some(previous_counter),
            ciphertext: Some(ciphertext),
        };
        versioned(&body)
    }
}

/// A parsed PreKey message: a Signal message, with what sets up its session.
#[derive(Debug, Clone)]
pub struct PreKeySignalMessage {
    pub registration_id: u32,
    pub pre_key_id: Option<PreKeyId>,
    pub signed_pre_key_id: SignedPreKeyId,
    pub base_key: PublicKey,
    pub identity_key: IdentityKey,
    pub message: SignalMessage,
}

impl PreKeySignalMessage {
    pub fn parse(bytes: &[u8]) -> Result<Self, SignalError> {
        let malformed = SignalError::Malformed { what: "prekey message" };
        check_version(bytes)?;
        let body = proto::PreKeySignalMessage::decode(&bytes[1..]).map_err(|_| malformed.clone())?;
        let (Some(base), Some(identity), Some(message), Some(signed)) =
            (body.base_key, body.identity_key, body.message, body.signed_pre_key_id)
        else {
            return Err(malformed);
        };
        Ok(Self {
            registration_id: body.registration_id.unwrap_or_default(),
            pre_key_id: body.pre_key_id.map(PreKeyId::new).transpose()?,
            signed_pre_key_id: SignedPreKeyId::new(signed)?,
            base_key: PublicKey::parse(&base, "base key of the message")?,
            identity_key: IdentityKey(PublicKey::parse(&identity, "identity key of the message")?),
            message: SignalMessage::parse(&message)?,
        })
    }

    pub(super) fn encode(
        registration_id: u32,
        pre_key_id: Option<PreKeyId>,
        signed_pre_key_id: SignedPreKeyId,
        base_key: &PublicKey,
        identity_key: &IdentityKey,
        message: Vec<u8>,
    ) -> Vec<u8> {
        versioned(&proto::PreKeySignalMessage {
            pre_key_id: pre_key_id.map(PreKeyId::get),
            base_key: Some(base_key.typed().to_vec()),
            identity_key: Some(identity_key.0.typed().to_vec()),
            message: Some(message),
            registration_id: Some(registration_id),
            signed_pre_key_id: Some(signed_pre_key_id.get()),
        })
    }
}

fn check_version(bytes: &[u8]) -> Result<(), SignalError> {
    match bytes.first() {
        Some(byte) if (3..=4).contains(&(byte >> 4)) => Ok(()),
        Some(byte) => Err(SignalError::Version { version: byte >> 4 }),
        None => Err(SignalError::Malformed { what: "message" }),
    }
}

fn versioned(body: &impl Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + body.encoded_len() + MAC_LENGTH);
    out.push(VERSION_BYTE);
    out.extend_from_slice(&body.encode_to_vec());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_named() {
        assert_eq!(SignalMessage::parse(&[0x23; 40]).err(), Some(SignalError::Version { version: 2 }));
    }

    #[test]
    fn cut_off_messages_are_malformed_and_never_panic() {
        let whole = SignalMessage::frame(&PublicKey::from_bytes([9; 32]), 1, 0, vec![1; 16]);
        for length in 0..whole.len() {
            assert!(SignalMessage::parse(&whole[..length]).is_err(), "{length}");
            assert!(PreKeySignalMessage::parse(&whole[..length]).is_err(), "{length}");
        }
    }
}
