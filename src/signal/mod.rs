//! Layer 1: the Signal Protocol: X3DH, the Double Ratchet, XEdDSA, message and record formats.
//!
//! Pure and synchronous: state in, state out. Nothing here stores, awaits or logs; facts that a caller needs (a one-time
//! prekey was used, which identity spoke) are returned. Specification: `signal-protocol.txt` and `wire-protocol.md`
//! section 2; known answers in `vectors.json`.
//!
//! Invariant: a failed decryption leaves a session exactly as it was.

mod buffer;
mod chain_key;
mod error;
mod fields;
mod group_message;
pub mod keys;
mod message;
mod message_key;
pub mod prekey;
mod ratchet;
mod record;
mod report;
mod root_key;
mod sender_key;
mod sender_key_record;
mod session;
mod state_record;
mod window;
#[cfg(test)]
mod wycheproof_tests;
mod x3dh;
pub mod xeddsa;

pub use buffer::Buffer;
pub use error::SignalError;
pub use group_message::{ChainId, SenderKeyDistribution, SenderKeyMessage};
pub use keys::{IdentityKey, IdentityKeyPair, KeyPair, PublicKey, SecretKey};
pub use message::{Ciphertext, PreKeySignalMessage, SignalMessage};
pub use prekey::{PreKeyBundle, PreKeyId, PreKeyPair, SignedPreKeyId, SignedPreKeyPair, VerifiedBundle};
pub use record::{Part, PartChanges};
pub use report::{ChainReport, DecryptionReport, StateReport};
pub use sender_key::{OurSenderKey, TheirSenderKeys};
pub use session::{Context, LocalParty, RemoteParty, Session};
pub use window::JumpLimit;

/// Protobuf structures of the messages and records, generated from `proto/signal.proto`.
pub(crate) mod proto {
    #![allow(missing_docs, clippy::pedantic)]
    include!(concat!(env!("OUT_DIR"), "/signal.rs"));
}

/// The numbers of `signal-protocol.txt`, "Protocol safety limits".
pub mod limits {
    /// How far a message may lie ahead of its chain (`signal-protocol.txt`).
    pub const MAX_FORWARD_JUMPS: u32 = 25_000;
    /// The same for messages of other users, in WhatsApp Web: each jump is work that a peer can ask of us.
    pub const MAX_FORWARD_JUMPS_OF_OTHERS: u32 = 2_000;
    /// How far a message may lie ahead in an archived state that does not hold its ratchet key.
    pub const STRAY_JUMP: u32 = 50;
    /// Skipped message keys kept for one receiver chain.
    pub const MAX_MESSAGE_KEYS: usize = 2_000;
    /// Skipped message keys kept in the archived states of one session together: what one peer can make us keep.
    pub const MAX_ARCHIVED_KEYS: usize = 10_000;
    /// Keys may exceed the limit by this many before the oldest are dropped in one go.
    pub const MESSAGE_KEY_PRUNE_THRESHOLD: usize = 50;
    /// Receiver chains kept for one session state.
    pub const MAX_RECEIVER_CHAINS: usize = 5;
    /// Archived states kept for one session.
    pub const ARCHIVED_STATES_MAX_LENGTH: usize = 40;
    /// Keys kept of one member of a group.
    pub const MAX_SENDER_KEY_STATES: usize = 5;
    /// The largest prekey id: 24 bits on the wire.
    pub const MAX_PREKEY_ID: u32 = 16_777_215;
    /// One-time prekeys of one upload.
    pub const PREKEY_BATCH: u32 = 812;
    /// With this many left at the service, or fewer, a batch is uploaded.
    pub const PREKEY_MINIMUM: u32 = 5;
    /// A signed prekey is replaced after this many days (`wire-protocol.md` 1.10).
    pub const SIGNED_PREKEY_DAYS: u64 = 27;
    /// Signed prekeys kept, the current one included: messages under an older one may still be on their way.
    pub const SIGNED_PREKEYS_KEPT: usize = 3;
    /// A session that we began and the peer has not answered for this long is stale: its prekeys may be gone.
    pub const UNANSWERED_SESSION_DAYS: u64 = 30;
}

#[cfg(test)]
pub(crate) mod testing {
    //! Known answers and seeded randomness for tests.
    use super::RemoteParty;
    use super::keys::{KeyPair, SecretKey};
    use crate::base::address::ProtocolAddress;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use serde_json::Value;

    pub fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/vectors.json")).unwrap()
    }

    pub fn vector_bytes(value: &Value) -> Vec<u8> {
        hex::decode(value.as_str().unwrap()).unwrap()
    }

    pub fn bytes<const N: usize>(value: &Value) -> [u8; N] {
        vector_bytes(value).try_into().unwrap()
    }

    pub fn pair(value: &Value) -> KeyPair {
        KeyPair::from_secret(SecretKey::from_bytes(bytes(value)))
    }

    /// A remote party whose identity is not known yet.
    pub fn stranger() -> RemoteParty {
        RemoteParty { address: ProtocolAddress::from_jid_text("15550001111@c.us.0".into()), identity: None }
    }

    pub fn rng(seed: u64) -> StdRng {
        StdRng::seed_from_u64(seed)
    }

    /// Yields the given byte strings in order: randomness of known answers.
    pub struct FixedBytes(pub Vec<Vec<u8>>);

    impl rand::TryRng for FixedBytes {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            panic!("only bytes are drawn")
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            panic!("only bytes are drawn")
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
            out.copy_from_slice(&self.0.remove(0));
            Ok(())
        }
    }

    impl rand::TryCryptoRng for FixedBytes {}
}
