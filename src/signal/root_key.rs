//! The root chain: a Diffie-Hellman result turns it, and yields a new message chain (Double Ratchet section 2.3).

use super::chain_key::ChainKey;
use super::message_key::hkdf_expand;
use crate::base::secret::Secret;
use zeroize::Zeroize;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RootKey(Secret<32>);

impl RootKey {
    pub(super) fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    pub(super) fn key(&self) -> &Secret<32> {
        &self.0
    }

    /// HKDF(salt = root, DH(ours, theirs), "WhisperRatchet", 64) = new root 32, new chain 32.
    pub(super) fn turn(&self, shared: &Secret<32>) -> (Self, ChainKey) {
        let mut okm = [0; 64];
        hkdf_expand(Some(self.0.expose()), shared.expose(), b"WhisperRatchet", &mut okm);
        let (root, chain) = split(&okm);
        okm.zeroize();
        (Self(root), ChainKey::message(chain, 0))
    }
}

/// The first and the second 32 of 64 bytes.
pub(super) fn split(okm: &[u8; 64]) -> (Secret<32>, Secret<32>) {
    let (mut first, mut second) = ([0; 32], [0; 32]);
    first.copy_from_slice(&okm[..32]);
    second.copy_from_slice(&okm[32..]);
    let halves = (Secret::new(first), Secret::new(second));
    first.zeroize();
    second.zeroize();
    halves
}
