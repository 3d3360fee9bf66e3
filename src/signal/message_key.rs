//! Message keys: the seed that is stored for a skipped message, and the keys derived from it, used once
//! (Double Ratchet section 5.2; `wire-protocol.md` 2.2).
//!
//! Invariant: [`MessageKey`] is consumed by its one use, and is wiped.

use super::SignalError;
use crate::base::secret::Secret;
use aes::Aes256;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The bytes of a Signal message's authentication code.
pub(super) const MAC_LENGTH: usize = 8;
const BLOCK: usize = 16;

/// The message seed: the output of a chain for one message; 32 bytes.
pub(super) type MessageSeed = Secret<32>;

/// The keys of one message.
#[derive(ZeroizeOnDrop)]
pub(super) struct MessageKey {
    cipher: [u8; 32],
    mac: [u8; 32],
    iv: [u8; 16],
}

impl MessageKey {
    /// HKDF(seed, no salt, "WhisperMessageKeys", 80) = cipher key 32, mac key 32, iv 16.
    pub(super) fn expand(seed: &MessageSeed) -> Self {
        let mut okm = [0; 80];
        hkdf_expand(None, seed.expose(), b"WhisperMessageKeys", &mut okm);
        let mut key = Self { cipher: [0; 32], mac: [0; 32], iv: [0; 16] };
        key.cipher.copy_from_slice(&okm[..32]);
        key.mac.copy_from_slice(&okm[32..64]);
        key.iv.copy_from_slice(&okm[64..]);
        okm.zeroize();
        key
    }

    /// Appends the ciphertext to `out`, then the code over `parties ‖ out[framed..]`.
    pub(super) fn seal(self, plaintext: &[u8], parties: &[u8; 66], out: &mut Vec<u8>, framed: usize) {
        encrypt_onto(out, plaintext, &self.cipher, &self.iv);
        let code = self.code(parties, &out[framed..]);
        out.extend_from_slice(&code);
    }

    /// Checks the code, then decrypts into `out`.
    pub(super) fn open(
        self,
        parties: &[u8; 66],
        framed: &[u8],
        code: &[u8; MAC_LENGTH],
        ciphertext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SignalError> {
        if !bool::from(self.code(parties, framed).ct_eq(code)) {
            return Err(SignalError::BadMac { fingerprint: hex::encode(&self.mac[..4]) });
        }
        decrypt_into(out, ciphertext, &self.cipher, &self.iv)
    }

    fn code(&self, parties: &[u8; 66], framed: &[u8]) -> [u8; MAC_LENGTH] {
        let tag = hmac_sha256(&self.mac, &[parties, framed]);
        let mut code = [0; MAC_LENGTH];
        code.copy_from_slice(&tag[..MAC_LENGTH]);
        code
    }
}

/// The length of a ciphertext: the padding is 1 to 16 bytes.
pub(super) const fn padded(plaintext: usize) -> usize {
    (plaintext / BLOCK + 1) * BLOCK
}

/// AES-256-CBC with PKCS #7 padding.
pub(super) fn encrypt_onto(out: &mut Vec<u8>, plaintext: &[u8], key: &[u8; 32], iv: &[u8; 16]) {
    let start = out.len();
    out.resize(start + padded(plaintext.len()), 0);
    let cipher = cbc::Encryptor::<Aes256>::new(key.into(), iv.into());
    let filled = cipher.encrypt_padded_b2b::<Pkcs7>(plaintext, &mut out[start..]).map(<[u8]>::len);
    debug_assert_eq!(filled.ok(), Some(padded(plaintext.len())), "there is room for the padding");
}

/// AES-256-CBC decryption; `out` is empty when the padding is wrong.
pub(super) fn decrypt_into(
    out: &mut Vec<u8>,
    ciphertext: &[u8],
    key: &[u8; 32],
    iv: &[u8; 16],
) -> Result<(), SignalError> {
    out.clear();
    out.resize(ciphertext.len(), 0);
    let cipher = cbc::Decryptor::<Aes256>::new(key.into(), iv.into());
    let length = cipher.decrypt_padded_b2b::<Pkcs7>(ciphertext, out).map(<[u8]>::len);
    out.truncate(length.as_ref().copied().unwrap_or(0));
    length.map(|_| ()).map_err(|_| SignalError::BadCiphertext)
}

/// HMAC-SHA256 under a key that is used more than once.
#[derive(Clone)]
pub(super) struct Keyed(Hmac<Sha256>);

impl Keyed {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        // RFC 2104 pads a short key with zeros to the block: given as a block, the length cannot be wrong.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(key);
        Self(Hmac::<Sha256>::new((&*block).into()))
    }

    /// The code over the parts, in order.
    pub(super) fn code(mut self, parts: &[&[u8]]) -> [u8; 32] {
        for part in parts {
            self.0.update(part);
        }
        self.0.finalize().into_bytes().into()
    }
}

/// HMAC-SHA256 over the parts, in order.
pub(super) fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    Keyed::new(key).code(parts)
}

/// HKDF-SHA256 (RFC 5869). `out` is at most 112 bytes here, far below the limit of 8,160 that could fail.
pub(super) fn hkdf_expand(salt: Option<&[u8]>, ikm: &[u8], info: &[u8], out: &mut [u8]) {
    let filled = Hkdf::<Sha256>::new(salt, ikm).expand(info, out);
    debug_assert!(filled.is_ok(), "hkdf output is shorter than 255 blocks");
}
