//! Device identities ("ADV"): how a phone vouches for a companion (`wire-protocol.md` 1.6, 1.9).
//!
//! Invariant: [`VerifiedDeviceIdentity`] exists only after the HMAC (when pairing) and every signature were checked.

use super::WireError;
use super::proto::{
    AdvDeviceIdentity, AdvKeyIndexList, AdvSignedDeviceIdentity, AdvSignedDeviceIdentityHmac, AdvSignedKeyIndexList,
};
use crate::base::secret::Secret;
use crate::signal::{IdentityKey, IdentityKeyPair, PublicKey, xeddsa};
use hmac::{Hmac, KeyInit, Mac};
use prost::Message;
use rand::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

const HOSTED: i32 = 1;
const ACCOUNT: [u8; 2] = [6, 0];
const ACCOUNT_HOSTED: [u8; 2] = [6, 5];
const DEVICE: [u8; 2] = [6, 1];
const DEVICE_HOSTED: [u8; 2] = [6, 6];
const KEY_INDEX_LIST: [u8; 2] = [6, 2];

/// A device identity whose account signature is right.
#[derive(Debug, Clone)]
pub struct VerifiedDeviceIdentity {
    blob: AdvSignedDeviceIdentity,
    pub account_key: IdentityKey,
    pub key_index: u32,
}

/// The container's HMAC is not of the secret in our QR code.
pub const HMAC_MISMATCH: WireError = WireError::DeviceIdentity { why: "hmac-mismatch" };

/// A companion's first message comes without its device identity.
pub const MISSING: WireError = WireError::DeviceIdentity { why: "the companion's device identity is missing" };

fn refuse(why: &'static str) -> WireError {
    WireError::DeviceIdentity { why }
}

/// Verifies what a phone sends after the scan of our QR code: the HMAC proves that it has read `adv_secret`.
pub fn verify_pairing(
    container: &[u8],
    adv_secret: &Secret<32>,
    ours: &IdentityKey,
) -> Result<VerifiedDeviceIdentity, WireError> {
    let container = AdvSignedDeviceIdentityHmac::decode(container).map_err(|_| refuse("the container is malformed"))?;
    let prefix: &[u8] = if container.account_type() == HOSTED { &ACCOUNT_HOSTED } else { &[] };
    let mut mac = keyed(adv_secret);
    mac.update(prefix);
    mac.update(container.details());
    mac.verify_slice(container.hmac()).map_err(|_| HMAC_MISMATCH)?;
    verify_account(container.details(), ours, None)
}

/// HMAC-SHA256 under the secret, padded to the block with zeros as RFC 2104 does.
fn keyed(adv_secret: &Secret<32>) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(adv_secret.expose());
    Hmac::new((&*block).into())
}

/// Checks the account's signature over `device`'s identity key. `known` is the primary's identity where we have it: the
/// blob must then be signed by that key.
fn verify_account(
    blob: &[u8],
    device: &IdentityKey,
    known: Option<&IdentityKey>,
) -> Result<VerifiedDeviceIdentity, WireError> {
    let mut blob = AdvSignedDeviceIdentity::decode(blob).map_err(|_| refuse("the identity is malformed"))?;
    let details =
        AdvDeviceIdentity::decode(blob.details()).map_err(|_| refuse("the identity's details are malformed"))?;
    let account_key = match (&blob.account_signature_key, known) {
        (Some(key), _) => IdentityKey(PublicKey::parse(key, "account signature key")?),
        (None, Some(known)) => *known,
        (None, None) => return Err(refuse("the account signature key is missing")),
    };
    if known.is_some_and(|known| *known != account_key) {
        return Err(refuse("it is signed by another account than the one we know"));
    }
    let prefix = if details.device_type() == HOSTED { ACCOUNT_HOSTED } else { ACCOUNT };
    let signed = [&prefix[..], blob.details(), device.0.as_bytes()].concat();
    if !xeddsa::verify(&account_key.0, &signed, blob.account_signature()) {
        return Err(refuse("signature-mismatch"));
    }
    blob.account_signature_key = Some(account_key.0.as_bytes().to_vec());
    Ok(VerifiedDeviceIdentity { blob, account_key, key_index: details.key_index() })
}

/// Checks both signatures of a companion's identity, as it comes with its prekeys or its first message.
pub fn verify_companion(
    blob: &[u8],
    device: &IdentityKey,
    known: Option<&IdentityKey>,
) -> Result<VerifiedDeviceIdentity, WireError> {
    let verified = verify_account(blob, device, known)?;
    let signed = device_signed(&verified, device)?;
    if !xeddsa::verify(&device.0, &signed, verified.blob.device_signature()) {
        return Err(refuse("device-signature-mismatch"));
    }
    Ok(verified)
}

fn device_signed(identity: &VerifiedDeviceIdentity, device: &IdentityKey) -> Result<Vec<u8>, WireError> {
    let details = AdvDeviceIdentity::decode(identity.blob.details())
        .map_err(|_| refuse("the identity's details are malformed"))?;
    let prefix = if details.device_type() == HOSTED { DEVICE_HOSTED } else { DEVICE };
    Ok([&prefix[..], identity.blob.details(), device.0.as_bytes(), identity.account_key.0.as_bytes()].concat())
}

impl VerifiedDeviceIdentity {
    /// Adds our device signature: the blob that peers and the service get.
    pub fn self_sign(mut self, ours: &IdentityKeyPair, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, WireError> {
        let signed = device_signed(&self, &ours.public())?;
        self.blob.device_signature = Some(ours.sign(&signed, rng).to_vec());
        Ok(self.blob.encode_to_vec())
    }

    /// The blob with the account key in it, as a service stores and serves it.
    pub fn to_blob(&self) -> Vec<u8> {
        self.blob.encode_to_vec()
    }
}

/// The phone's side of pairing: vouches for `companion`, proving knowledge of the QR code's secret.
pub fn vouch(
    account: &IdentityKeyPair,
    companion: &IdentityKey,
    adv_secret: &Secret<32>,
    (raw_id, timestamp, key_index): (u32, u64, u32),
    rng: &mut dyn CryptoRng,
) -> Vec<u8> {
    let details = AdvDeviceIdentity {
        raw_id: Some(raw_id),
        timestamp: Some(timestamp),
        key_index: Some(key_index),
        account_type: Some(0),
        device_type: Some(0),
    }
    .encode_to_vec();
    let signed = [&ACCOUNT[..], &details, companion.0.as_bytes()].concat();
    let inner = AdvSignedDeviceIdentity {
        account_signature: Some(account.sign(&signed, rng).to_vec()),
        details: Some(details),
        account_signature_key: Some(account.public().0.as_bytes().to_vec()),
        device_signature: None,
    }
    .encode_to_vec();
    let mut mac = keyed(adv_secret);
    mac.update(&inner);
    let hmac = mac.finalize().into_bytes().to_vec();
    AdvSignedDeviceIdentityHmac { details: Some(inner), hmac: Some(hmac), account_type: None }.encode_to_vec()
}

/// The phone's signed list of its companions' key indexes, as device lists carry it.
pub fn sign_key_indexes(
    account: &IdentityKeyPair,
    (raw_id, timestamp): (u32, u64),
    current: u32,
    valid: Vec<u32>,
    rng: &mut dyn CryptoRng,
) -> Vec<u8> {
    let details = AdvKeyIndexList {
        raw_id: Some(raw_id),
        timestamp: Some(timestamp),
        current_index: Some(current),
        valid_indexes: valid,
        account_type: Some(0),
    }
    .encode_to_vec();
    let signed = [&KEY_INDEX_LIST[..], &details].concat();
    AdvSignedKeyIndexList {
        account_signature: Some(account.sign(&signed, rng).to_vec()),
        account_signature_key: Some(account.public().0.as_bytes().to_vec()),
        details: Some(details),
    }
    .encode_to_vec()
}

/// The key indexes that a list declares: the devices it vouches for are those with a valid index, or one newer than it.
pub fn read_key_indexes(blob: &[u8]) -> Result<KeyIndexes, WireError> {
    let signed = AdvSignedKeyIndexList::decode(blob).map_err(|_| refuse("the key index list is malformed"))?;
    let list = AdvKeyIndexList::decode(signed.details()).map_err(|_| refuse("the key index list is malformed"))?;
    if let Some(key) = &signed.account_signature_key {
        let key = PublicKey::parse(key, "account signature key")?;
        let message = [&KEY_INDEX_LIST[..], signed.details()].concat();
        if !xeddsa::verify(&key, &message, signed.account_signature()) {
            return Err(refuse("the key index list's signature is wrong"));
        }
    }
    Ok(KeyIndexes { raw_id: list.raw_id(), current: list.current_index(), valid: list.valid_indexes })
}

/// A read key index list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyIndexes {
    pub raw_id: u32,
    current: u32,
    valid: Vec<u32>,
}

impl KeyIndexes {
    pub fn vouches_for(&self, key_index: u32) -> bool {
        key_index > self.current || self.valid.contains(&key_index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{bytes, pair, rng, vector_bytes, vectors};
    use serde_json::Value;

    fn parties(v: &Value) -> (IdentityKeyPair, Secret<32>) {
        (IdentityKeyPair(pair(&v["companion_identity_priv"])), Secret::new(bytes(&v["adv_secret"])))
    }

    fn container(v: &Value) -> Vec<u8> {
        vector_bytes(&v["pair_success_device_identity(ADVSignedDeviceIdentityHMAC)"])
    }

    #[test]
    fn the_known_identity_is_accepted_and_our_signature_verifies() {
        let v = &vectors()["adv"];
        let (companion, secret) = parties(v);
        let verified = verify_pairing(&container(v), &secret, &companion.public()).unwrap();
        assert_eq!(verified.key_index, 1);
        assert_eq!(verified.account_key.0.as_bytes(), &bytes::<32>(&v["account_identity_pub"]));
        let ours = verified.self_sign(&companion, &mut rng(1)).unwrap();
        assert!(verify_companion(&ours, &companion.public(), None).is_ok());
        let known = vector_bytes(&v["self_signed(ADVSignedDeviceIdentity)"]);
        assert!(verify_companion(&known, &companion.public(), None).is_ok());
    }

    #[test]
    fn the_known_hosted_identity_is_accepted() {
        let v = &vectors()["adv"];
        let (companion, secret) = parties(v);
        let hosted = &v["hosted (account type HOSTED = 1; prefixes 0605 / 0606; hmac over 0605 || details)"];
        let container = vector_bytes(&hosted["pair_success_device_identity"]);
        assert!(verify_pairing(&container, &secret, &companion.public()).is_ok());
        let signed = vector_bytes(&hosted["self_signed"]);
        assert!(verify_companion(&signed, &companion.public(), None).is_ok());
    }

    #[test]
    fn a_bad_device_identity_hmac_is_refused() {
        let v = &vectors()["adv"];
        let (companion, _) = parties(v);
        let result = verify_pairing(&container(v), &Secret::new([0; 32]), &companion.public());
        assert_eq!(result.err(), Some(HMAC_MISMATCH));
    }

    #[test]
    fn an_identity_for_another_companion_is_refused() {
        let v = &vectors()["adv"];
        let (_, secret) = parties(v);
        let other = IdentityKeyPair::generate(&mut rng(1)).public();
        assert_eq!(verify_pairing(&container(v), &secret, &other).err(), Some(refuse("signature-mismatch")));
    }

    #[test]
    fn an_identity_signed_by_another_account_is_refused() {
        let v = &vectors()["adv"];
        let (companion, _) = parties(v);
        let blob = vector_bytes(&v["self_signed(ADVSignedDeviceIdentity)"]);
        let other = IdentityKeyPair::generate(&mut rng(1)).public();
        assert!(verify_companion(&blob, &companion.public(), Some(&other)).is_err());
    }

    #[test]
    fn a_phones_voucher_is_accepted_by_its_companion() {
        let mut rng = rng(3);
        let (phone, companion) = (IdentityKeyPair::generate(&mut rng), IdentityKeyPair::generate(&mut rng));
        let secret = Secret::new([5; 32]);
        let container = vouch(&phone, &companion.public(), &secret, (1, 2, 3), &mut rng);
        let verified = verify_pairing(&container, &secret, &companion.public()).unwrap();
        assert_eq!((verified.account_key, verified.key_index), (phone.public(), 3));
    }

    #[test]
    fn a_key_index_list_vouches_for_its_own_and_for_newer_devices() {
        let mut rng = rng(4);
        let phone = IdentityKeyPair::generate(&mut rng);
        let mut blob = sign_key_indexes(&phone, (7, 8), 3, vec![0, 3], &mut rng);
        let list = read_key_indexes(&blob).unwrap();
        assert_eq!([0, 1, 3, 4].map(|index| list.vouches_for(index)), [true, false, true, true]);
        let last = blob.len() - 40;
        blob[last] ^= 1;
        assert!(read_key_indexes(&blob).is_err());
    }
}
