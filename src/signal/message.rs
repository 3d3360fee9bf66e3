//! The two message forms of one-to-one sessions (`wire-protocol.md` 2.1), parsed once, at the edge.

use super::SignalError;
use super::fields::{put_key, put_length, put_uint, read, varint_len};
use super::keys::{IdentityKey, PublicKey};
use super::message_key::{MAC_LENGTH, MessageKey, padded};
use super::prekey::{PreKeyId, SignedPreKeyId};
use std::ops::Range;

/// Version 3 of the message (high nibble) under version 3 of the protocol (low nibble).
pub(super) const VERSION_BYTE: u8 = 0x33;

/// A ciphertext that [`Session::encrypt`](super::Session::encrypt) has written to the caller's buffer, by its `enc` type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ciphertext<'b> {
    /// `msg`: the peer is known to hold the session.
    Signal(&'b [u8]),
    /// `pkmsg`: carries what the peer needs to set up the session.
    PreKey(&'b [u8]),
}

impl<'b> Ciphertext<'b> {
    /// The serialized message.
    pub fn bytes(self) -> &'b [u8] {
        match self {
            Self::Signal(bytes) | Self::PreKey(bytes) => bytes,
        }
    }

    pub fn is_prekey(self) -> bool {
        matches!(self, Self::PreKey(_))
    }
}

/// A parsed Signal message.
#[derive(Debug, Clone)]
pub struct SignalMessage {
    bytes: Vec<u8>,
    ciphertext: Range<usize>,
    pub(super) ratchet_key: PublicKey,
    pub(super) counter: u32,
}

impl SignalMessage {
    /// Checks version and structure; owned bytes are kept, not copied. The code can be checked only by a session.
    pub fn parse(bytes: impl Into<Vec<u8>>) -> Result<Self, SignalError> {
        let bytes = bytes.into();
        let malformed = || SignalError::Malformed { what: "signal message" };
        check_version(&bytes)?;
        let body = bytes.get(1..bytes.len().saturating_sub(MAC_LENGTH)).ok_or_else(malformed)?;
        let (mut key, mut counter, mut ciphertext) = (None, None, None);
        let parsed = read(body, |field, value| {
            match field {
                1 => key = Some(value.bytes()?),
                2 => counter = Some(value.uint32()?),
                3 => drop(value.uint32()?),
                4 => ciphertext = Some(value.bytes()?),
                _ => {}
            }
            Ok(())
        });
        let (Ok(()), Some(key), Some(counter), Some(ciphertext)) = (parsed, key, counter, ciphertext) else {
            return Err(malformed());
        };
        let ratchet_key = PublicKey::parse(key, "ratchet key of the message")?;
        let ciphertext = place(&bytes, ciphertext);
        Ok(Self { bytes, ciphertext, ratchet_key, counter })
    }

    /// The sender's ratchet key.
    pub fn ratchet_key(&self) -> &PublicKey {
        &self.ratchet_key
    }

    /// The message's number within its chain.
    pub fn counter(&self) -> u32 {
        self.counter
    }

    pub(super) fn ciphertext_len(&self) -> usize {
        self.ciphertext.len()
    }

    /// Checks the code and decrypts into `out`.
    pub(super) fn open(&self, key: MessageKey, parties: &[u8; 66], out: &mut Vec<u8>) -> Result<(), SignalError> {
        let (framed, code) =
            self.bytes.split_last_chunk::<MAC_LENGTH>().ok_or(SignalError::Malformed { what: "signal message" })?;
        key.open(parties, framed, code, &self.bytes[self.ciphertext.clone()], out)
    }
}

/// Where `part`, a slice of `whole`, lies in it.
pub(super) fn place(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// The head of a Signal message that is being written.
pub(super) struct Frame {
    pub(super) ratchet_key: PublicKey,
    pub(super) counter: u32,
    pub(super) previous_counter: u32,
}

impl Frame {
    /// The bytes of the whole message for a plaintext of this length.
    pub(super) fn message_len(&self, plaintext: usize) -> Result<u32, SignalError> {
        let ciphertext = ciphertext_len(plaintext)?;
        let fields = 1 + 35 + 1 + varint_len(self.counter) + 1 + varint_len(self.previous_counter);
        let length = fields + 1 + varint_len(ciphertext) + ciphertext as usize + MAC_LENGTH;
        u32::try_from(length).map_err(|_| too_long())
    }

    /// Appends version, fields, ciphertext and code.
    pub(super) fn seal(
        &self,
        key: MessageKey,
        plaintext: &[u8],
        parties: &[u8; 66],
        out: &mut Vec<u8>,
    ) -> Result<(), SignalError> {
        let framed = out.len();
        out.push(VERSION_BYTE);
        put_key(out, 1, &self.ratchet_key.typed());
        put_uint(out, 2, self.counter);
        put_uint(out, 3, self.previous_counter);
        put_length(out, 4, ciphertext_len(plaintext.len())?);
        key.seal(plaintext, parties, out, framed);
        Ok(())
    }
}

pub(super) fn ciphertext_len(plaintext: usize) -> Result<u32, SignalError> {
    u32::try_from(padded(plaintext)).map_err(|_| too_long())
}

fn too_long() -> SignalError {
    SignalError::Malformed { what: "plaintext, which is longer than 4 GiB," }
}

/// A parsed PreKey message: a Signal message, with the keys that set up its session.
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
        check_version(bytes)?;
        let (mut pre_key_id, mut registration_id, mut signed) = (None, None, None);
        let (mut base, mut identity, mut message) = (None, None, None);
        let parsed = read(&bytes[1..], |field, value| {
            match field {
                1 => pre_key_id = Some(value.uint32()?),
                2 => base = Some(value.bytes()?),
                3 => identity = Some(value.bytes()?),
                4 => message = Some(value.bytes()?),
                5 => registration_id = Some(value.uint32()?),
                6 => signed = Some(value.uint32()?),
                _ => {}
            }
            Ok(())
        });
        let (Ok(()), Some(base), Some(identity), Some(message), Some(signed)) =
            (parsed, base, identity, message, signed)
        else {
            return Err(SignalError::Malformed { what: "prekey message" });
        };
        Ok(Self {
            registration_id: registration_id.unwrap_or_default(),
            pre_key_id: pre_key_id.map(PreKeyId::new).transpose()?,
            signed_pre_key_id: SignedPreKeyId::new(signed)?,
            base_key: PublicKey::parse(base, "base key of the message")?,
            identity_key: IdentityKey(PublicKey::parse(identity, "identity key of the message")?),
            message: SignalMessage::parse(message)?,
        })
    }
}

/// The fields of a PreKey message around its Signal message.
pub(super) struct Envelope {
    pub(super) registration_id: u32,
    pub(super) pre_key_id: Option<PreKeyId>,
    pub(super) signed_pre_key_id: SignedPreKeyId,
    pub(super) base_key: PublicKey,
    pub(super) identity_key: IdentityKey,
}

impl Envelope {
    /// More bytes than the envelope adds to its message.
    pub(super) const MAX_LEN: usize = 128;

    /// Writes the fields before the message of `length` bytes, the message by `put`, and the fields after it.
    pub(super) fn wrap(
        &self,
        out: &mut Vec<u8>,
        length: u32,
        put: impl FnOnce(&mut Vec<u8>) -> Result<(), SignalError>,
    ) -> Result<(), SignalError> {
        out.push(VERSION_BYTE);
        if let Some(id) = self.pre_key_id {
            put_uint(out, 1, id.get());
        }
        put_key(out, 2, &self.base_key.typed());
        put_key(out, 3, &self.identity_key.0.typed());
        put_length(out, 4, length);
        put(out)?;
        put_uint(out, 5, self.registration_id);
        put_uint(out, 6, self.signed_pre_key_id.get());
        Ok(())
    }
}

fn check_version(bytes: &[u8]) -> Result<(), SignalError> {
    match bytes.first() {
        Some(byte) if (3..=4).contains(&(byte >> 4)) => Ok(()),
        Some(byte) => Err(SignalError::Version { version: byte >> 4 }),
        None => Err(SignalError::Malformed { what: "message" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;

    #[test]
    fn an_unsupported_version_is_named() {
        assert_eq!(SignalMessage::parse([0x23; 40]).err(), Some(SignalError::Version { version: 2 }));
    }

    #[test]
    fn a_message_has_the_computed_length_and_is_malformed_when_truncated() {
        let key = MessageKey::expand(&Secret::new([8; 32]));
        let frame = Frame { ratchet_key: PublicKey::from_bytes([9; 32]), counter: 300, previous_counter: 0 };
        let mut whole = Vec::new();
        frame.seal(key, &[1; 16], &[0; 66], &mut whole).unwrap();
        assert_eq!(whole.len(), frame.message_len(16).unwrap() as usize);
        assert_eq!(SignalMessage::parse(&whole[..]).unwrap().ciphertext.len(), 32);
        for length in 0..whole.len() {
            assert!(SignalMessage::parse(&whole[..length]).is_err(), "{length}");
            assert!(PreKeySignalMessage::parse(&whole[..length]).is_err(), "{length}");
        }
    }
}
