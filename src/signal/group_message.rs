//! The two message forms of groups (`wire-protocol.md` 2.1), parsed once, at the edge.

use super::SignalError;
use super::fields::{put_length, put_uint, read};
use super::keys::PublicKey;
use super::message::{VERSION_BYTE, ciphertext_len, place};
use super::proto;
use super::xeddsa::Verifier;
use crate::base::secret::Secret;
use prost::Message;
use std::ops::Range;

pub(super) const SIGNATURE: usize = 64;

/// The id of a sender key: 31 random bits, chosen by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(pub u32);

/// A parsed group message. Its signature can be checked only with the sender key it names.
#[derive(Debug, Clone)]
pub struct SenderKeyMessage {
    pub chain_id: ChainId,
    pub iteration: u32,
    bytes: Vec<u8>,
    ciphertext: Range<usize>,
}

impl SenderKeyMessage {
    /// Checks version and structure; owned bytes are kept, not copied.
    pub fn parse(bytes: impl Into<Vec<u8>>) -> Result<Self, SignalError> {
        let bytes = bytes.into();
        let malformed = || SignalError::Malformed { what: "sender key message" };
        check_version(&bytes)?;
        let body = bytes.get(1..bytes.len().saturating_sub(SIGNATURE)).ok_or_else(malformed)?;
        let (mut id, mut iteration, mut ciphertext) = (None, None, None);
        let parsed = read(body, |field, value| {
            match field {
                1 => id = Some(value.uint32()?),
                2 => iteration = Some(value.uint32()?),
                3 => ciphertext = Some(value.bytes()?),
                _ => {}
            }
            Ok(())
        });
        let (Ok(()), Some(id), Some(iteration), Some(ciphertext)) = (parsed, id, iteration, ciphertext) else {
            return Err(malformed());
        };
        let ciphertext = place(&bytes, ciphertext);
        Ok(Self { chain_id: ChainId(id), iteration, bytes, ciphertext })
    }

    /// More bytes than version, fields and lengths before the ciphertext take.
    pub(super) const MAX_HEAD: usize = 1 + 3 * 6;

    pub(super) fn ciphertext(&self) -> &[u8] {
        &self.bytes[self.ciphertext.clone()]
    }

    /// The signature covers all that comes before it.
    pub(super) fn is_signed_by(&self, key: &Verifier) -> bool {
        let signature = self.bytes.split_last_chunk::<SIGNATURE>();
        signature.is_some_and(|(signed, signature)| key.verify(signed, signature))
    }

    /// Version byte and fields up to the ciphertext, which is to follow.
    pub(super) fn put_head(
        out: &mut Vec<u8>,
        chain_id: ChainId,
        iteration: u32,
        plaintext: usize,
    ) -> Result<(), SignalError> {
        out.push(VERSION_BYTE);
        put_uint(out, 1, chain_id.0);
        put_uint(out, 2, iteration);
        put_length(out, 3, ciphertext_len(plaintext)?);
        Ok(())
    }
}

/// A sender-key distribution message: gives the sender key to one device, encrypted in the session with it.
#[derive(Debug, Clone)]
pub struct SenderKeyDistribution {
    pub chain_id: ChainId,
    pub iteration: u32,
    pub(super) chain_key: Secret<32>,
    pub(super) signing_key: PublicKey,
}

impl SenderKeyDistribution {
    pub fn parse(bytes: &[u8]) -> Result<Self, SignalError> {
        let malformed = SignalError::Malformed { what: "sender key distribution" };
        check_version(bytes)?;
        let body = proto::SenderKeyDistributionMessage::decode(&bytes[1..]).map_err(|_| malformed.clone())?;
        let (Some(id), Some(iteration), Some(chain_key), Some(signing_key)) =
            (body.id, body.iteration, &body.chain_key, &body.signing_key)
        else {
            return Err(malformed);
        };
        Ok(Self {
            chain_id: ChainId(id),
            iteration,
            chain_key: Secret::from_slice(chain_key).ok_or(malformed)?,
            signing_key: PublicKey::parse(signing_key, "sender's signing key")?,
        })
    }

    pub fn encode(&self) -> Vec<u8> {
        let body = proto::SenderKeyDistributionMessage {
            id: Some(self.chain_id.0),
            iteration: Some(self.iteration),
            chain_key: Some(self.chain_key.expose().to_vec()),
            signing_key: Some(self.signing_key.typed().to_vec()),
        };
        let mut out = Vec::with_capacity(1 + body.encoded_len());
        out.push(VERSION_BYTE);
        out.extend_from_slice(&body.encode_to_vec());
        out
    }
}

/// Group messages are of version 3 exactly.
fn check_version(bytes: &[u8]) -> Result<(), SignalError> {
    match bytes.first() {
        Some(byte) if byte >> 4 == 3 => Ok(()),
        Some(byte) => Err(SignalError::Version { version: byte >> 4 }),
        None => Err(SignalError::Malformed { what: "sender key message" }),
    }
}
