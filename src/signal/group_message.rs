//! The two message forms of groups (`wire-protocol.md` 2.1), parsed once, at the edge.

use super::SignalError;
use super::keys::PublicKey;
use super::message::VERSION_BYTE;
use super::proto;
use super::xeddsa::Verifier;
use crate::base::secret::Secret;
use prost::Message;

const SIGNATURE: usize = 64;

/// The id of a sender key: 31 random bits, chosen by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(pub u32);

/// A parsed group message. Its signature can be checked only with the sender key it names.
#[derive(Debug, Clone)]
pub struct SenderKeyMessage {
    pub chain_id: ChainId,
    pub iteration: u32,
    pub(super) ciphertext: Vec<u8>,
    /// All that the signature covers.
    signed: Vec<u8>,
    signature: [u8; SIGNATURE],
}

impl SenderKeyMessage {
    pub fn parse(bytes: &[u8]) -> Result<Self, SignalError> {
        let malformed = SignalError::Malformed { what: "sender key message" };
        check_version(bytes)?;
        let (signed, signature) = bytes.split_last_chunk::<SIGNATURE>().ok_or(malformed.clone())?;
        let body = signed.get(1..).ok_or(malformed.clone())?;
        let body = proto::SenderKeyMessage::decode(body).map_err(|_| malformed.clone())?;
        let (Some(id), Some(iteration), Some(ciphertext)) = (body.id, body.iteration, body.ciphertext) else {
            return Err(malformed);
        };
        Ok(Self { chain_id: ChainId(id), iteration, ciphertext, signed: signed.to_vec(), signature: *signature })
    }

    pub(super) fn is_signed_by(&self, key: &Verifier) -> bool {
        key.verify(&self.signed, &self.signature)
    }

    /// Version byte and protobuf: what is signed, and what the signature is appended to.
    pub(super) fn frame(chain_id: ChainId, iteration: u32, ciphertext: Vec<u8>) -> Vec<u8> {
        let body =
            proto::SenderKeyMessage { id: Some(chain_id.0), iteration: Some(iteration), ciphertext: Some(ciphertext) };
        versioned(&body, SIGNATURE)
    }
}

/// A sender key on its way to those who shall read its owner's messages: sent to each device in its own session.
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
            (body.id, body.iteration, body.chain_key, body.signing_key)
        else {
            return Err(malformed);
        };
        Ok(Self {
            chain_id: ChainId(id),
            iteration,
            chain_key: Secret::from_slice(&chain_key).ok_or(malformed)?,
            signing_key: PublicKey::parse(&signing_key, "sender's signing key")?,
        })
    }

    pub fn encode(&self) -> Vec<u8> {
        versioned(
            &proto::SenderKeyDistributionMessage {
                id: Some(self.chain_id.0),
                iteration: Some(self.iteration),
                chain_key: Some(self.chain_key.expose().to_vec()),
                signing_key: Some(self.signing_key.typed().to_vec()),
            },
            0,
        )
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

fn versioned(body: &impl Message, room: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + body.encoded_len() + room);
    out.push(VERSION_BYTE);
    out.extend_from_slice(&body.encode_to_vec());
    out
}
