//! Prekeys: ids, key pairs, and a peer's bundle, which can be used only after its signature was checked.

use super::SignalError;
use super::keys::{IdentityKey, IdentityKeyPair, KeyPair, PreparedPublicKey, PublicKey};
use super::limits::MAX_PREKEY_ID;
use super::xeddsa::Verifier;
use rand::CryptoRng;
use sha1::{Digest, Sha1};

/// The id of a one-time prekey, 1..=16,777,215 (24 bits on the wire).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PreKeyId(u32);

impl PreKeyId {
    pub const FIRST: Self = Self(1);

    /// Ids of messages may be 0 with foreign clients; above 24 bits they cannot be ours.
    pub fn new(id: u32) -> Result<Self, SignalError> {
        if id <= MAX_PREKEY_ID { Ok(Self(id)) } else { Err(SignalError::Malformed { what: "prekey id" }) }
    }

    pub const fn get(self) -> u32 {
        self.0
    }

    /// The id after this one; after the last comes 1.
    #[must_use]
    pub fn next(self) -> Self {
        if self.0 >= MAX_PREKEY_ID { Self::FIRST } else { Self(self.0 + 1) }
    }

    /// The three bytes of the wire, most significant first.
    pub fn to_wire(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_be_bytes();
        [a, b, c]
    }

    pub fn from_wire(bytes: &[u8]) -> Result<Self, SignalError> {
        match bytes {
            &[a, b, c] => Ok(Self(u32::from_be_bytes([0, a, b, c]))),
            _ => Err(SignalError::Malformed { what: "prekey id" }),
        }
    }
}

/// The id of a signed prekey, 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignedPreKeyId(PreKeyId);

impl SignedPreKeyId {
    pub const FIRST: Self = Self(PreKeyId::FIRST);

    pub fn new(id: u32) -> Result<Self, SignalError> {
        PreKeyId::new(id).map(Self)
    }

    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The id after this one; after the last comes 1.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.next())
    }

    /// How many ids were given out after `earlier` until this one.
    pub fn distance_from(self, earlier: Self) -> u32 {
        (self.get() + MAX_PREKEY_ID - earlier.get()) % MAX_PREKEY_ID
    }

    pub fn to_wire(self) -> [u8; 3] {
        self.0.to_wire()
    }

    pub fn from_wire(bytes: &[u8]) -> Result<Self, SignalError> {
        PreKeyId::from_wire(bytes).map(Self)
    }
}

/// One of our one-time prekeys.
#[derive(Clone, Debug)]
pub struct PreKeyPair {
    pub id: PreKeyId,
    pub pair: KeyPair,
}

impl PreKeyPair {
    pub fn generate(id: PreKeyId, rng: &mut dyn CryptoRng) -> Self {
        Self { id, pair: KeyPair::generate(rng) }
    }
}

/// Our signed prekey: a medium-term key, signed by our identity.
#[derive(Clone, Debug)]
pub struct SignedPreKeyPair {
    pub id: SignedPreKeyId,
    pub pair: KeyPair,
    pub signature: [u8; 64],
}

impl SignedPreKeyPair {
    /// The signature covers the 33-byte typed key.
    pub fn generate(id: SignedPreKeyId, identity: &IdentityKeyPair, rng: &mut dyn CryptoRng) -> Self {
        let pair = KeyPair::generate(rng);
        let signature = identity.sign(&pair.public().typed(), rng);
        Self { id, pair, signature }
    }
}

/// A peer's prekeys as the service handed them out: nothing in it is trusted yet.
#[derive(Clone, Debug)]
pub struct PreKeyBundle {
    pub registration_id: u32,
    pub identity: IdentityKey,
    pub signed_pre_key_id: SignedPreKeyId,
    pub signed_pre_key: PublicKey,
    pub signature: Vec<u8>,
    pub one_time: Option<(PreKeyId, PublicKey)>,
}

/// A bundle whose signed prekey bears its identity's signature.
#[derive(Clone, Debug)]
pub struct VerifiedBundle {
    bundle: PreKeyBundle,
    identity: PreparedPublicKey,
}

impl PreKeyBundle {
    pub fn verify(self) -> Result<VerifiedBundle, SignalError> {
        let identity = PreparedPublicKey::new(&self.identity.0);
        if Verifier::prepared(&identity).verify(&self.signed_pre_key.typed(), &self.signature) {
            Ok(VerifiedBundle { bundle: self, identity })
        } else {
            Err(SignalError::BadSignature { what: "signed prekey" })
        }
    }
}

impl VerifiedBundle {
    pub fn get(&self) -> &PreKeyBundle {
        &self.bundle
    }

    pub(super) fn identity(&self) -> &PreparedPublicKey {
        &self.identity
    }
}

/// The digest that the service keeps of a device's keys: SHA-1 over identity ‖ signed prekey ‖ its signature ‖ one-time
/// prekeys in the order of the list, public keys as 32 raw bytes (`wire-protocol.md` 1.10).
pub fn bundle_digest<'a>(
    identity: &IdentityKey,
    signed_pre_key: &PublicKey,
    signature: &[u8],
    one_time: impl IntoIterator<Item = &'a PublicKey>,
) -> [u8; 20] {
    let mut hash = Sha1::new().chain_update(identity.0.as_bytes()).chain_update(signed_pre_key.as_bytes());
    hash.update(signature);
    for key in one_time {
        hash.update(key.as_bytes());
    }
    hash.finalize().into()
}

/// The first id of a new batch: max(counter, highest stored + 1), wrapped into 1..=2^24-1.
pub fn batch_start(counter: u32, highest_stored: u32) -> PreKeyId {
    let raw = u64::from(counter.max(1)).max(u64::from(highest_stored) + 1);
    let wrapped = (raw - 1) % u64::from(MAX_PREKEY_ID) + 1;
    PreKeyId(u32::try_from(wrapped).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::rng;

    #[test]
    fn ids_wrap_from_the_last_to_one() {
        assert_eq!(PreKeyId::new(MAX_PREKEY_ID).unwrap().next(), PreKeyId::FIRST);
        assert!(PreKeyId::new(MAX_PREKEY_ID + 1).is_err());
        assert_eq!(PreKeyId::new(0x01_02_03).unwrap().to_wire(), [1, 2, 3]);
    }

    #[test]
    fn a_batch_starts_above_the_counter_and_above_what_is_stored_and_wraps() {
        for (counter, highest, expected) in [
            (0, 0, 1),
            (5, 3, 5),
            (5, 9, 10),
            (0, 9, 10),
            (MAX_PREKEY_ID, 0, MAX_PREKEY_ID),
            (MAX_PREKEY_ID + 1, 0, 1),
            (1, MAX_PREKEY_ID, 1),
        ] {
            assert_eq!(batch_start(counter, highest).get(), expected, "{counter} {highest}");
        }
    }

    #[test]
    fn the_digest_is_sha1_over_the_keys_in_order() {
        let key = |byte| PublicKey::from_bytes([byte; 32]);
        let digest = bundle_digest(&IdentityKey(key(1)), &key(2), &[3; 64], [&key(4), &key(5)]);
        let bytes = [&[1; 32][..], &[2; 32], &[3; 64], &[4; 32], &[5; 32]].concat();
        assert_eq!(digest, <[u8; 20]>::from(Sha1::digest(&bytes)));
    }

    #[test]
    fn a_bundle_with_a_wrong_signature_cannot_be_used() {
        let mut rng = rng(1);
        let identity = IdentityKeyPair::generate(&mut rng);
        let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &identity, &mut rng);
        let mut bundle = PreKeyBundle {
            registration_id: 1,
            identity: identity.public(),
            signed_pre_key_id: signed.id,
            signed_pre_key: *signed.pair.public(),
            signature: signed.signature.to_vec(),
            one_time: None,
        };
        assert!(bundle.clone().verify().is_ok());
        bundle.signature[0] ^= 1;
        assert_eq!(bundle.verify().err(), Some(SignalError::BadSignature { what: "signed prekey" }));
    }
}
