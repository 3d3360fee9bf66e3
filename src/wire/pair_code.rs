//! Linking by an 8-character code: the messages of both sides (`wire-protocol.md` 1.6).
//!
//! The code protects the ephemeral keys, those the bundle with the identities; all together give the ADV secret.

use super::WireError;
use crate::base::secret::Secret;
use crate::signal::{IdentityKey, IdentityKeyPair, KeyPair, PublicKey};
use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use ctr::cipher::{KeyIvInit, StreamCipher};
use hkdf::Hkdf;
use rand::{CryptoRng, Rng};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

const ALPHABET: &[u8; 32] = b"123456789ABCDEFGHJKLMNPQRSTVWXYZ";
const ITERATIONS: u32 = 131_072;
const BUNDLE_INFO: &[u8] = b"link_code_pairing_key_bundle_encryption_key";
const ADV_INFO: &[u8] = b"adv_secret";

/// The code that the companion shows and the person types.
#[derive(Clone, PartialEq, Eq)]
pub struct PairCode([u8; 8]);

impl PairCode {
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = [0; 5];
        rng.fill_bytes(&mut bytes);
        Self::from_random(bytes)
    }

    /// Forty bits as eight symbols, the first bits first.
    pub(super) fn from_random(bytes: [u8; 5]) -> Self {
        let bits = bytes.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        Self(std::array::from_fn(|at| ALPHABET[(bits >> (35 - 5 * at) & 31) as usize]))
    }

    /// Reads what a person typed: with or without the dash, in either case.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let symbols: Vec<u8> = text.bytes().filter(|c| *c != b'-').map(|c| c.to_ascii_uppercase()).collect();
        let code = symbols.try_into().ok().filter(|code: &[u8; 8]| code.iter().all(|c| ALPHABET.contains(c)));
        code.map(Self).ok_or(WireError::Malformed { what: "pairing code" })
    }

    fn cipher(&self, salt: &[u8; 32], iv: &[u8; 16]) -> ctr::Ctr128BE<aes::Aes256> {
        let key = Zeroizing::new(pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(&self.0, salt, ITERATIONS));
        ctr::Ctr128BE::new((&*key).into(), iv.into())
    }

    /// An ephemeral public key under the code: salt 32 ‖ iv 16 ‖ key 32.
    pub fn wrap(&self, key: &PublicKey, rng: &mut dyn Rng) -> [u8; 80] {
        let mut wrapped = [0; 80];
        rng.fill_bytes(&mut wrapped[..48]);
        wrapped[48..].copy_from_slice(key.as_bytes());
        self.apply(&mut wrapped);
        wrapped
    }

    /// Unwraps the key. A wrong code yields a wrong key.
    pub fn unwrap(&self, wrapped: &[u8; 80]) -> PublicKey {
        let mut opened = *wrapped;
        self.apply(&mut opened);
        let mut key = [0; 32];
        key.copy_from_slice(&opened[48..]);
        PublicKey::from_bytes(key)
    }

    fn apply(&self, wrapped: &mut [u8; 80]) {
        let (mut salt, mut iv) = ([0; 32], [0; 16]);
        salt.copy_from_slice(&wrapped[..32]);
        iv.copy_from_slice(&wrapped[32..48]);
        self.cipher(&salt, &iv).apply_keystream(&mut wrapped[48..]);
    }
}

impl fmt::Display for PairCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.0);
        write!(f, "{}-{}", &text[..4], &text[4..])
    }
}

/// The code is secret while it is valid.
impl fmt::Debug for PairCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairCode(****)")
    }
}

/// The companion's last message: salt 32 ‖ iv 12 ‖ AES-256-GCM(its identity ‖ the phone's ‖ random 32).
pub const BUNDLE: usize = 32 + 12 + 96 + 16;

fn bundle_key(shared: &Secret<32>, salt: &[u8]) -> Zeroizing<[u8; 32]> {
    expand(Some(salt), shared.expose(), BUNDLE_INFO)
}

fn expand(salt: Option<&[u8]>, ikm: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let filled = Hkdf::<Sha256>::new(salt, ikm).expand(info, &mut *key);
    debug_assert!(filled.is_ok(), "32 bytes are below hkdf's limit");
    key
}

/// The phone's end: opens the companion's bundle, and derives the ADV secret that vouches for `companion`.
pub fn open_bundle(
    ephemeral: &KeyPair,
    identity: &IdentityKeyPair,
    companion_ephemeral: &PublicKey,
    companion: &IdentityKey,
    bundle: &[u8; BUNDLE],
) -> Result<Secret<32>, WireError> {
    let refused = WireError::Handshake { what: "pairing bundle: the code is another, or it was altered" };
    let shared = ephemeral.secret().agree(companion_ephemeral)?;
    let (salt, rest) = bundle.split_at(32);
    let (iv, sealed) = rest.split_at(12);
    let nonce = Nonce::try_from(iv).map_err(|_| refused.clone())?;
    let opened = Aes256Gcm::new((&*bundle_key(&shared, salt)).into()).decrypt(&nonce, sealed);
    let opened = Zeroizing::new(opened.map_err(|_| refused.clone())?);
    let (identities, random) = opened.split_at_checked(64).ok_or(refused.clone())?;
    if identities != [*companion.0.as_bytes(), *identity.public().0.as_bytes()].concat() {
        return Err(refused);
    }
    let known = identity.secret().agree(&companion.0)?;
    adv_secret(&shared, &known, random)
}

/// The companion's end: the bundle that proves to the phone that it showed the code, and the derived ADV secret.
pub fn seal_bundle(
    ephemeral: &KeyPair,
    identity: &IdentityKeyPair,
    phone_ephemeral: &PublicKey,
    phone: &IdentityKey,
    rng: &mut dyn CryptoRng,
) -> Result<([u8; BUNDLE], Secret<32>), WireError> {
    let mut random = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *random);
    let mut bundle = [0; BUNDLE];
    rng.fill_bytes(&mut bundle[..44]);
    let shared = ephemeral.secret().agree(phone_ephemeral)?;
    let known = identity.secret().agree(&phone.0)?;
    let identities = [identity.public().0.as_bytes().as_slice(), phone.0.as_bytes()].concat();
    let plain = Zeroizing::new([&identities[..], &*random].concat());
    let malformed = || WireError::Malformed { what: "pairing bundle" };
    let nonce = Nonce::try_from(&bundle[32..44]).map_err(|_| malformed())?;
    let cipher = Aes256Gcm::new((&*bundle_key(&shared, &bundle[..32])).into());
    let sealed = cipher.encrypt(&nonce, plain.as_slice()).map_err(|_| malformed())?;
    bundle[44..].copy_from_slice(&sealed);
    Ok((bundle, adv_secret(&shared, &known, &*random)?))
}

fn adv_secret(ephemeral: &Secret<32>, identity: &Secret<32>, random: &[u8]) -> Result<Secret<32>, WireError> {
    let ikm = Zeroizing::new([ephemeral.expose().as_slice(), identity.expose(), random].concat());
    Ok(Secret::new(*expand(None, &ikm, ADV_INFO)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{bytes, pair, rng, vector_bytes, vectors};

    fn known() -> serde_json::Value {
        vectors()["pair_code"].clone()
    }

    #[test]
    fn codes_equal_the_known_answers() {
        for (random, code) in known()["code_from_5_random_bytes"].as_object().unwrap() {
            let random = hex::decode(random).unwrap().try_into().unwrap();
            let shown = PairCode::from_random(random).to_string();
            assert_eq!(shown.replace('-', ""), code.as_str().unwrap());
            assert_eq!(PairCode::parse(&shown.to_lowercase()).unwrap().to_string(), shown);
        }
        for wrong in ["", "ABCD-123", "ABCD-12345", "ABCD-123I", "ABCD-123O"] {
            assert!(PairCode::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_ephemeral_key_is_unwrapped_by_its_code_only() {
        let code = PairCode::parse(known()["code"].as_str().unwrap()).unwrap();
        let wrapped: [u8; 80] = bytes(&known()["wrapped_companion_ephemeral(80)"]);
        let ephemeral = *pair(&known()["companion_ephemeral_priv"]).public();
        assert_eq!(code.unwrap(&wrapped), ephemeral);
        assert_ne!(PairCode::parse("1111-1111").unwrap().unwrap(&wrapped), ephemeral);
        let again = code.wrap(&ephemeral, &mut rng(1));
        assert_eq!(code.unwrap(&again), ephemeral);
    }

    #[test]
    fn the_phone_opens_the_known_bundle_and_derives_the_known_secret() {
        let (ephemeral, identity) = (pair(&known()["primary_ephemeral_priv"]), pair(&known()["primary_identity_priv"]));
        let identity = IdentityKeyPair(identity);
        let companion_ephemeral = *pair(&known()["companion_ephemeral_priv"]).public();
        let companion = IdentityKey(*pair(&known()["companion_identity_priv"]).public());
        let bundle: [u8; BUNDLE] = vector_bytes(&known()["wrapped_key_bundle"]).try_into().unwrap();
        let open = |companion, bundle| open_bundle(&ephemeral, &identity, &companion_ephemeral, companion, bundle);
        assert_eq!(open(&companion, &bundle).unwrap(), Secret::new(bytes(&known()["adv_secret"])));
        let (again, secret) = seal_bundle(
            &pair(&known()["companion_ephemeral_priv"]),
            &IdentityKeyPair(pair(&known()["companion_identity_priv"])),
            ephemeral.public(),
            &identity.public(),
            &mut rng(7),
        )
        .unwrap();
        assert_eq!(open(&companion, &again).unwrap(), secret, "what the companion seals");
        let mut altered = bundle;
        altered[100] ^= 1;
        assert!(open(&companion, &altered).is_err());
        let other = IdentityKey(*KeyPair::generate(&mut rng(1)).public());
        assert!(open(&other, &bundle).is_err(), "a bundle names its companion");
    }
}
