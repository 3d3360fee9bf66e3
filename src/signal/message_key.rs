//! Message keys: the seed that is stored for a skipped message, and the keys made from it, used once
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

/// What a chain yields for one message; 32 bytes.
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

    /// Encrypts `plaintext` and hands the ciphertext to `frame`, which returns the bytes to authenticate; the code over
    /// `parties ‖ framed` is appended to them.
    pub(super) fn seal(self, plaintext: &[u8], parties: &[u8; 66], frame: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
        let ciphertext =
            cbc::Encryptor::<Aes256>::new(&self.cipher.into(), &self.iv.into()).encrypt_padded_vec::<Pkcs7>(plaintext);
        let mut framed = frame(ciphertext);
        let code = self.code(parties, &framed);
        framed.extend_from_slice(&code);
        framed
    }

    /// Checks the code, then decrypts.
    pub(super) fn open(
        self,
        parties: &[u8; 66],
        framed: &[u8],
        code: &[u8; MAC_LENGTH],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, SignalError> {
        if !bool::from(self.code(parties, framed).ct_eq(code)) {
            return Err(SignalError::BadMac { fingerprint: hex::encode(&self.mac[..4]) });
        }
        cbc::Decryptor::<Aes256>::new(&self.cipher.into(), &self.iv.into())
            .decrypt_padded_vec::<Pkcs7>(ciphertext)
            .map_err(|_| SignalError::BadCiphertext)
    }

    fn code(&self, parties: &[u8; 66], framed: &[u8]) -> [u8; MAC_LENGTH] {
        let tag = hmac_sha256(&self.mac, &[parties, framed]);
        let mut code = [0; MAC_LENGTH];
        code.copy_from_slice(&tag[..MAC_LENGTH]);
        code
    }
}

/// HMAC-SHA256 over the parts, in order.
pub(super) fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // RFC 2104 pads a short key with zeros to the block: given as a block, the length cannot be wrong.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// HKDF-SHA256 (RFC 5869). `out` is at most 112 bytes here, far below the limit of 8,160 that could fail.
pub(super) fn hkdf_expand(salt: Option<&[u8]>, ikm: &[u8], info: &[u8], out: &mut [u8]) {
    let filled = Hkdf::<Sha256>::new(salt, ikm).expand(info, out);
    debug_assert!(filled.is_ok(), "hkdf output is shorter than 255 blocks");
}
