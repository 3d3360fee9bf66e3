//! Encrypted media (`wire-protocol.md` 1.18): AES-256-CBC and the first ten bytes of an HMAC, keys from the media key.

use super::WireError;
use crate::base::secret::Secret;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const MAC: usize = 10;

/// The type of a medium: selects the keys and the path on the media host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    Image,
    Video,
    Audio,
    Document,
}

impl MediaKind {
    fn info(self) -> &'static [u8] {
        match self {
            Self::Image => b"WhatsApp Image Keys",
            Self::Video => b"WhatsApp Video Keys",
            Self::Audio => b"WhatsApp Audio Keys",
            Self::Document => b"WhatsApp Document Keys",
        }
    }
}

/// An encrypted medium, and the fields of a message that describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedMedia {
    pub key: Secret<32>,
    /// Ciphertext and its ten bytes of authentication.
    pub body: Vec<u8>,
    pub sha256: [u8; 32],
    pub enc_sha256: [u8; 32],
}

struct Keys {
    iv: [u8; 16],
    cipher: Zeroizing<[u8; 32]>,
    mac: Zeroizing<[u8; 32]>,
}

fn keys(key: &Secret<32>, kind: MediaKind) -> Keys {
    let mut okm = Zeroizing::new([0; 112]);
    let filled = Hkdf::<Sha256>::new(None, key.expose()).expand(kind.info(), &mut *okm);
    debug_assert!(filled.is_ok(), "112 bytes are below hkdf's limit");
    let mut keys = Keys { iv: [0; 16], cipher: Zeroizing::new([0; 32]), mac: Zeroizing::new([0; 32]) };
    keys.iv.copy_from_slice(&okm[..16]);
    keys.cipher.copy_from_slice(&okm[16..48]);
    keys.mac.copy_from_slice(&okm[48..80]);
    keys
}

impl Keys {
    fn authentication(&self, ciphertext: &[u8]) -> Hmac<Sha256> {
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(&*self.mac);
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        mac.update(&self.iv);
        mac.update(ciphertext);
        mac
    }
}

/// Encrypts a medium under a key that is used for nothing else.
pub fn seal(plaintext: &[u8], kind: MediaKind, key: Secret<32>) -> SealedMedia {
    let keys = keys(&key, kind);
    let cipher = cbc::Encryptor::<aes::Aes256>::new((&*keys.cipher).into(), (&keys.iv).into());
    let mut body = cipher.encrypt_padded_vec::<Pkcs7>(plaintext);
    let mac = keys.authentication(&body).finalize().into_bytes();
    body.extend_from_slice(&mac[..MAC]);
    let enc_sha256 = Sha256::digest(&body).into();
    SealedMedia { key, body, sha256: Sha256::digest(plaintext).into(), enc_sha256 }
}

/// Decrypts a medium, and checks its authentication code and the hash in the message.
pub fn open(body: &[u8], kind: MediaKind, key: &Secret<32>, sha256: &[u8]) -> Result<Vec<u8>, WireError> {
    let refused = |what| WireError::Malformed { what };
    let keys = keys(key, kind);
    let (ciphertext, mac) =
        body.len().checked_sub(MAC).map(|cut| body.split_at(cut)).ok_or(refused("medium: it is too short"))?;
    keys.authentication(ciphertext).verify_truncated_left(mac).map_err(|_| refused("medium: it was altered"))?;
    let cipher = cbc::Decryptor::<aes::Aes256>::new((&*keys.cipher).into(), (&keys.iv).into());
    let plaintext = cipher.decrypt_padded_vec::<Pkcs7>(ciphertext).map_err(|_| refused("medium: its padding"))?;
    if Sha256::digest(&plaintext).as_slice() != sha256 {
        return Err(refused("medium: it is not the one that was announced"));
    }
    Ok(plaintext)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{bytes, vectors};

    const PLAINTEXT: &[u8] = b"sixteen byte blk";

    fn key() -> Secret<32> {
        Secret::new(bytes(&vectors()["media"]["media_key"]))
    }

    #[test]
    fn sealed_media_equal_the_known_answers_and_are_opened_again() {
        let types = &vectors()["media"]["types (same media key)"];
        for (name, kind) in [
            ("image", MediaKind::Image),
            ("video", MediaKind::Video),
            ("audio", MediaKind::Audio),
            ("document", MediaKind::Document),
        ] {
            let sealed = seal(PLAINTEXT, kind, key());
            assert_eq!(
                hex::encode(&sealed.body),
                types[name]["body of plaintext \"sixteen byte blk\""].as_str().unwrap()
            );
            assert_eq!(open(&sealed.body, kind, &key(), &sealed.sha256).unwrap(), PLAINTEXT);
        }
    }

    #[test]
    fn an_altered_medium_is_refused() {
        let sealed = seal(PLAINTEXT, MediaKind::Image, key());
        for at in 0..sealed.body.len() {
            let mut body = sealed.body.clone();
            body[at] ^= 1;
            assert!(open(&body, MediaKind::Image, &key(), &sealed.sha256).is_err(), "byte {at}");
        }
        assert!(open(&sealed.body, MediaKind::Image, &key(), &[0; 32]).is_err(), "another one than announced");
        assert!(open(&sealed.body[..9], MediaKind::Image, &key(), &sealed.sha256).is_err(), "cut short");
    }
}
