//! Linking with a passkey: the proofs of companion and phone (`linking-and-tokens.md` 1.3 to 1.5).
//!
//! The companion commits itself to an ephemeral key and a nonce before it knows the phone's; both sides then show the same code.

use super::WireError;
use super::pair_code::PairCode;
use super::payload::DEVICE_TYPE;
use super::proto::{
    CompanionCommitment, CompanionEphemeralIdentity, EncryptedPairingRequest, PairingRequest, PrimaryEphemeralIdentity,
    ProloguePayload,
};
use crate::base::secret::Secret;
use crate::signal::{IdentityKey, KeyPair, PublicKey};
use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use prost::Message;
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// One attempt of the companion.
pub struct Attempt {
    ephemeral: KeyPair,
    nonce: Secret<32>,
    reference: String,
    payload: Vec<u8>,
}

impl Attempt {
    /// Starts an attempt with a fresh key and nonce, under the service's reference.
    pub fn new(ephemeral: KeyPair, nonce: Secret<32>, reference: String) -> Self {
        let identity = CompanionEphemeralIdentity {
            public_key: Some(ephemeral.public().as_bytes().to_vec()),
            device_type: Some(DEVICE_TYPE),
            r#ref: Some(reference.clone()),
        }
        .encode_to_vec();
        let hash = Sha256::new().chain_update(&identity).chain_update(nonce.expose()).finalize();
        let payload = ProloguePayload {
            companion_ephemeral_identity: Some(identity),
            commitment: Some(CompanionCommitment { hash: Some(hash.to_vec()) }),
        };
        Self { ephemeral, nonce, reference, payload: payload.encode_to_vec() }
    }

    /// The `prologue_payload`.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The nonce that opens the commitment: to be sent only after the phone has answered.
    pub fn nonce(&self) -> &[u8; 32] {
        self.nonce.expose()
    }

    /// The verification code, compared on both screens.
    pub fn code(&self, phone: &PhoneIdentity) -> PairCode {
        verification_code(&self.nonce, phone)
    }

    /// The `encrypted_pairing_request`.
    pub fn seal(
        &self,
        phone: &PhoneIdentity,
        noise: &PublicKey,
        identity: &IdentityKey,
        adv_secret: &Secret<32>,
        iv: [u8; 12],
    ) -> Result<Vec<u8>, WireError> {
        let shared = self.ephemeral.secret().agree(&phone.key)?;
        let request = PairingRequest {
            companion_public_key: Some(noise.as_bytes().to_vec()),
            companion_identity_key: Some(identity.0.as_bytes().to_vec()),
            adv_secret: Some(adv_secret.expose().to_vec()),
        };
        let plain = Zeroizing::new(request.encode_to_vec());
        let cipher = Aes256Gcm::new((&*request_key(&shared, DEVICE_TYPE, &self.reference)).into());
        let malformed = |_| WireError::Malformed { what: "pairing request" };
        let sealed = cipher.encrypt(&Nonce::from(iv), plain.as_slice()).map_err(malformed)?;
        Ok(EncryptedPairingRequest { encrypted_payload: Some(sealed), iv: Some(iv.to_vec()) }.encode_to_vec())
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attempt(…)")
    }
}

/// The phone's ephemeral key and nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneIdentity {
    pub key: PublicKey,
    pub nonce: [u8; 32],
}

impl PhoneIdentity {
    /// Reads `primary_ephemeral_identity`.
    pub fn read(bytes: &[u8]) -> Result<Self, WireError> {
        let malformed = || WireError::Malformed { what: "the phone's ephemeral identity" };
        let identity = PrimaryEphemeralIdentity::decode(bytes).map_err(|_| malformed())?;
        let key = identity.public_key().try_into().map_err(|_| malformed())?;
        let nonce = identity.nonce().try_into().map_err(|_| malformed())?;
        Ok(Self { key: PublicKey::from_bytes(key), nonce })
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let (public_key, nonce) = (Some(self.key.as_bytes().to_vec()), Some(self.nonce.to_vec()));
        PrimaryEphemeralIdentity { public_key, nonce }.encode_to_vec()
    }
}

/// Proves to the phone that this is the companion whose QR code it scanned: keyed by the ADV secret in that code.
pub fn handoff_proof(adv_secret: &Secret<32>, payload: &[u8]) -> [u8; 32] {
    let mut key = Zeroizing::new([0; 32]);
    let filled = Hkdf::<Sha256>::new(None, adv_secret.expose()).expand(b"shortcake-passkey-handoff-v1", &mut *key);
    debug_assert!(filled.is_ok(), "32 bytes are below hkdf's limit");
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(&*key);
    Hmac::<Sha256>::new((&*block).into()).chain_update(payload).finalize().into_bytes().into()
}

fn verification_code(nonce: &Secret<32>, phone: &PhoneIdentity) -> PairCode {
    let digest = Sha256::new().chain_update(nonce.expose()).chain_update(phone.key.as_bytes()).finalize();
    PairCode::from_random(std::array::from_fn(|at| phone.nonce[at] ^ digest[at]))
}

fn request_key(shared: &Secret<32>, device_type: i32, reference: &str) -> Zeroizing<[u8; 32]> {
    let salt = format!("Companion Pairing {device_type} with ref {reference}");
    let mut key = Zeroizing::new([0; 32]);
    let hkdf = Hkdf::<Sha256>::new(Some(salt.as_bytes()), shared.expose());
    let filled = hkdf.expand(b"Pairing Information Encryption Key", &mut *key);
    debug_assert!(filled.is_ok(), "32 bytes are below hkdf's limit");
    key
}

/// The phone's end: a companion's commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prologue {
    identity: Vec<u8>,
    key: PublicKey,
    device_type: i32,
    pub reference: String,
    commitment: Vec<u8>,
}

/// The keys that a companion asks the phone to sign for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    pub noise: PublicKey,
    pub identity: IdentityKey,
    pub adv_secret: Secret<32>,
}

impl Prologue {
    pub fn read(payload: &[u8]) -> Result<Self, WireError> {
        let malformed = || WireError::Malformed { what: "passkey prologue" };
        let payload = ProloguePayload::decode(payload).map_err(|_| malformed())?;
        let identity = payload.companion_ephemeral_identity.ok_or_else(malformed)?;
        let read = CompanionEphemeralIdentity::decode(&*identity).map_err(|_| malformed())?;
        let key = read.public_key().try_into().map_err(|_| malformed())?;
        Ok(Self {
            key: PublicKey::from_bytes(key),
            device_type: read.device_type(),
            reference: read.r#ref().to_owned(),
            commitment: payload.commitment.and_then(|it| it.hash).ok_or_else(malformed)?,
            identity,
        })
    }

    /// The code to compare; `None` when the nonce is not the one that was committed to.
    pub fn open(&self, nonce: &Secret<32>, phone: &PhoneIdentity) -> Option<PairCode> {
        let hash = Sha256::new().chain_update(&self.identity).chain_update(nonce.expose()).finalize();
        (self.commitment == hash.as_slice()).then(|| verification_code(nonce, phone))
    }

    /// Decrypts the `encrypted_pairing_request`.
    pub fn open_request(&self, ephemeral: &KeyPair, sealed: &[u8]) -> Result<Requested, WireError> {
        let malformed = || WireError::Malformed { what: "pairing request" };
        let shared = ephemeral.secret().agree(&self.key)?;
        let sealed = EncryptedPairingRequest::decode(sealed).map_err(|_| malformed())?;
        let iv = Nonce::try_from(sealed.iv()).map_err(|_| malformed())?;
        let cipher = Aes256Gcm::new((&*request_key(&shared, self.device_type, &self.reference)).into());
        let plain = Zeroizing::new(cipher.decrypt(&iv, sealed.encrypted_payload()).map_err(|_| malformed())?);
        let request = PairingRequest::decode(&**plain).map_err(|_| malformed())?;
        let key = |bytes: &[u8]| bytes.try_into().map(PublicKey::from_bytes).map_err(|_| malformed());
        Ok(Requested {
            noise: key(request.companion_public_key())?,
            identity: IdentityKey(key(request.companion_identity_key())?),
            adv_secret: Secret::from_slice(request.adv_secret()).ok_or_else(malformed)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::SecretKey;

    fn pair(byte: u8) -> KeyPair {
        KeyPair::from_secret(SecretKey::from_bytes([byte; 32]))
    }

    fn attempt() -> Attempt {
        Attempt::new(pair(0x11), Secret::new([0x33; 32]), "2@sandbox-ref".into())
    }

    fn phone() -> PhoneIdentity {
        PhoneIdentity { key: *pair(0x22).public(), nonce: [0x44; 32] }
    }

    #[test]
    fn the_companions_payloads_equal_the_known_answers() {
        let attempt = attempt();
        let prologue = Prologue::read(attempt.payload()).unwrap();
        let identity = "0a207b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13\
                        10011a0d324073616e64626f782d726566";
        assert_eq!(hex::encode(&prologue.identity), identity);
        let commitment = "4cf91d90b0b608b8d52646f6fddbb1f605a557e513108f9d57ae9016fe8d3121";
        assert_eq!(hex::encode(&prologue.commitment), commitment);
        assert_eq!(attempt.payload().len(), 89);
        let proof = handoff_proof(&Secret::new([0x55; 32]), attempt.payload());
        assert_eq!(hex::encode(proof), "9583a821458e0c797f0a01750e6024bac7617fa37ea3b2037f5095900135689f");
        assert_eq!(attempt.code(&phone()).to_string(), "PYSL-SH11");
        let shared = pair(0x11).secret().agree(&phone().key).unwrap();
        let key = "ccba0ebc89dc97fca4097eaf1089f2a3bdfcb3d758d47a3ef1bed1512d7ff147";
        assert_eq!(hex::encode(*request_key(&shared, 1, "2@sandbox-ref")), key);
    }

    #[test]
    fn the_request_equals_the_known_answer_and_the_phone_opens_it() {
        let (noise, identity) = (PublicKey::from_bytes([0x77; 32]), IdentityKey(PublicKey::from_bytes([0x88; 32])));
        let adv_secret = Secret::new([0x66; 32]);
        let sealed = attempt().seal(&phone(), &noise, &identity, &adv_secret, [0x99; 12]).unwrap();
        let payload = EncryptedPairingRequest::decode(&*sealed).unwrap().encrypted_payload.unwrap();
        assert_eq!(payload.len(), 118);
        assert_eq!(hex::encode(&payload[102..]), "bcc97229e1cdc763e5b85099ef324a94");
        let prologue = Prologue::read(attempt().payload()).unwrap();
        let opened = prologue.open_request(&pair(0x22), &sealed).unwrap();
        assert_eq!(opened, Requested { noise, identity, adv_secret });
        assert!(prologue.open_request(&pair(0x23), &sealed).is_err());
    }

    #[test]
    fn both_sides_show_the_same_code_and_a_wrong_nonce_is_refused() {
        let prologue = Prologue::read(attempt().payload()).unwrap();
        assert_eq!(prologue.open(&Secret::new([0x33; 32]), &phone()), Some(attempt().code(&phone())));
        assert_eq!(prologue.open(&Secret::new([0x34; 32]), &phone()), None);
        assert_eq!(PhoneIdentity::read(&phone().to_bytes()), Ok(phone()));
        assert!(PhoneIdentity::read(&[]).is_err());
    }
}
