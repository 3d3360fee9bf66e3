//! State of a client that is being linked.

use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::sandbox::world::ids::DeviceId;
use crate::signal::{IdentityKey, KeyPair, PublicKey};
use crate::wire::pair_code::PairCode;
use crate::wire::passkey::{PhoneIdentity, Prologue, Requested};

pub(in crate::sandbox::world) struct LinkRequest {
    pub(in crate::sandbox::world) noise: PublicKey,
    pub(in crate::sandbox::world) registration_id: u32,
    pub(in crate::sandbox::world) identity: IdentityKey,
    pub(in crate::sandbox::world) push_name: Option<String>,
    /// References that a QR code may still show.
    pub(in crate::sandbox::world) references: Vec<String>,
    /// After `pair-success`: the future device and its key index.
    pub(in crate::sandbox::world) assigned: Option<(DeviceId, u32)>,
    pub(in crate::sandbox::world) code: Option<CodeRequest>,
    pub(in crate::sandbox::world) passkey: Option<PasskeyLink>,
}

/// A request to link by code, and the phone's answer.
pub(in crate::sandbox::world) struct CodeRequest {
    pub(in crate::sandbox::world) number: String,
    pub(in crate::sandbox::world) reference: Vec<u8>,
    pub(in crate::sandbox::world) wrapped: [u8; 80],
    /// The phone's ephemeral key, and the client's as the code unwrapped it.
    pub(in crate::sandbox::world) entered: Option<(KeyPair, PublicKey)>,
}

/// A passkey ceremony on a client's connection.
pub(in crate::sandbox::world) struct PasskeyLink {
    pub(in crate::sandbox::world) number: String,
    pub(in crate::sandbox::world) challenge: [u8; 32],
    pub(in crate::sandbox::world) expires_at: Timestamp,
    /// The secret that the QR code or the pairing code carried.
    pub(in crate::sandbox::world) adv_secret: Secret<32>,
    pub(in crate::sandbox::world) reference: Option<String>,
    pub(in crate::sandbox::world) prologue: Option<(Prologue, KeyPair, PhoneIdentity)>,
    /// The code that the phone shows.
    pub(in crate::sandbox::world) code: Option<PairCode>,
    /// The person's decision on the code; a handoff proof counts as consent.
    pub(in crate::sandbox::world) accepted: Option<bool>,
    pub(in crate::sandbox::world) requested: Option<Requested>,
}
