//! Errors of the Signal layer. No variant carries a secret.

use super::keys::IdentityKey;
use crate::base::address::ProtocolAddress;

/// An error of the Signal layer. A failed operation has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    #[error("the {what} is malformed")]
    Malformed { what: &'static str },
    #[error("message version {version} is not supported; only version 3 is")]
    Version { version: u8 },
    #[error("the {what} is not a usable curve25519 key")]
    InvalidKey { what: &'static str },
    #[error("the signature of the {what} is wrong")]
    BadSignature { what: &'static str },
    #[error("the message's authentication code is wrong; mac key fingerprint {fingerprint}")]
    BadMac { fingerprint: String },
    #[error("message {counter} was already decrypted; the chain stands at {chain_index}")]
    Duplicate { chain_index: u32, counter: u32 },
    #[error("message {counter} lies {jump} ahead of the chain; the limit is {limit}")]
    TooFarInFuture { counter: u32, jump: u32, limit: u32 },
    #[error("there is no session; fetch the peer's prekeys first")]
    NoSession,
    #[error(
        "the session is {age_days} days old and was never answered; fetch the peer's prekeys and start a new session"
    )]
    StaleSession { age_days: u64 },
    #[error("{address} presents identity {}, known is {}; trust the new one first", fingerprint(.presented), fingerprint(.known))]
    UntrustedIdentity { address: ProtocolAddress, known: IdentityKey, presented: IdentityKey },
    #[error("sender key {chain_id} is unknown; its owner must distribute it again")]
    UnknownSenderKey { chain_id: u32 },
    #[error("one-time prekey {id} is unknown; it was used before or is not ours")]
    UnknownPreKey { id: u32 },
    #[error("signed prekey {id} is unknown; it was rotated away or is not ours")]
    UnknownSignedPreKey { id: u32 },
    #[error("the {what} has reached its last index; a new session is needed")]
    ChainExhausted { what: &'static str },
    #[error("the ciphertext does not decrypt under an authentic message key")]
    BadCiphertext,
    #[error("the stored {what} cannot be read")]
    CorruptRecord { what: &'static str },
}

/// The first eight hex digits of a public key: enough to tell two apart.
fn fingerprint(identity: &IdentityKey) -> String {
    hex::encode(&identity.0.as_bytes()[..4])
}
