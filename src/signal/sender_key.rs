//! Sender keys: one key per member encrypts for a whole group (`signal-protocol.txt`, "Sender Keys"; `wire-protocol.md` 2.2).
//!
//! Ours and theirs are different types: ours signs and moves on with each message; theirs verifies, and keeps five states,
//! because a member may begin a new key while messages under the old one are still on their way.

use super::SignalError;
use super::chain_key::ChainKey;
use super::group_message::{ChainId, SenderKeyDistribution, SenderKeyMessage};
use super::keys::KeyPair;
use super::limits::MAX_SENDER_KEY_STATES;
use super::message_key::{MessageSeed, hkdf_expand};
use super::window::{JumpLimit, KeyWindow};
use super::xeddsa::{Signer, Verifier};
use crate::base::secret::Secret;
use aes::Aes256;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use rand::CryptoRng;
use std::collections::VecDeque;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The cipher key and iv of one group message.
#[derive(ZeroizeOnDrop)]
pub(super) struct GroupMessageKey {
    iv: [u8; 16],
    cipher: [u8; 32],
}

impl GroupMessageKey {
    /// HKDF(seed, no salt, "WhisperGroup", 48) = iv 16, cipher key 32.
    fn expand(seed: &MessageSeed) -> Self {
        let mut okm = [0; 48];
        hkdf_expand(None, seed.expose(), b"WhisperGroup", &mut okm);
        let mut key = Self { iv: [0; 16], cipher: [0; 32] };
        key.iv.copy_from_slice(&okm[..16]);
        key.cipher.copy_from_slice(&okm[16..]);
        okm.zeroize();
        key
    }

    #[cfg(test)]
    pub(super) fn new(iv: [u8; 16], cipher: [u8; 32]) -> Self {
        Self { iv, cipher }
    }

    pub(super) fn seal(self, plaintext: &[u8]) -> Vec<u8> {
        cbc::Encryptor::<Aes256>::new(&self.cipher.into(), &self.iv.into()).encrypt_padded_vec::<Pkcs7>(plaintext)
    }

    pub(super) fn open(self, ciphertext: &[u8]) -> Result<Vec<u8>, SignalError> {
        cbc::Decryptor::<Aes256>::new(&self.cipher.into(), &self.iv.into())
            .decrypt_padded_vec::<Pkcs7>(ciphertext)
            .map_err(|_| SignalError::BadCiphertext)
    }
}

/// Our key for one group.
#[derive(Clone, Debug)]
pub struct OurSenderKey {
    pub(super) chain_id: ChainId,
    pub(super) chain: ChainKey,
    pub(super) signing: KeyPair,
    signer: Signer,
}

impl OurSenderKey {
    /// A fresh key; its id has 31 bits.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let chain_id = ChainId(rng.next_u32() >> 1);
        Self::new(chain_id, ChainKey::new(Secret::generate(rng), 0), KeyPair::generate(rng))
    }

    pub(super) fn new(chain_id: ChainId, chain: ChainKey, signing: KeyPair) -> Self {
        let signer = Signer::new(signing.secret());
        Self { chain_id, chain, signing, signer }
    }

    pub fn chain_id(&self) -> ChainId {
        self.chain_id
    }

    /// The number of the next message: how often the key was used.
    pub fn iteration(&self) -> u32 {
        self.chain.index()
    }

    /// What a device needs to read the messages from here on, and none before.
    pub fn distribution(&self) -> SenderKeyDistribution {
        SenderKeyDistribution {
            chain_id: self.chain_id,
            iteration: self.chain.index(),
            chain_key: self.chain.key().clone(),
            signing_key: *self.signing.public(),
        }
    }

    /// Encrypts for the group, and signs; the chain moves on.
    pub fn encrypt(&mut self, plaintext: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SignalError> {
        let iteration = self.chain.index();
        let (seed, next) = self.chain.step()?;
        let ciphertext = GroupMessageKey::expand(&seed).seal(plaintext);
        let mut message = SenderKeyMessage::frame(self.chain_id, iteration, ciphertext);
        let signature = self.signer.sign(&message, rng);
        message.extend_from_slice(&signature);
        self.chain = next;
        Ok(message)
    }
}

#[derive(Clone, Debug)]
pub(super) struct TheirState {
    pub(super) chain_id: ChainId,
    pub(super) verifier: Verifier,
    pub(super) window: KeyWindow,
}

/// A member's keys for one group, the newest first.
#[derive(Clone, Debug, Default)]
pub struct TheirSenderKeys {
    pub(super) states: VecDeque<TheirState>,
}

impl TheirSenderKeys {
    /// Takes up a distributed key. One that is known already keeps its place in the chain: a distribution that comes twice
    /// does not make old messages readable again.
    pub fn process(&mut self, distribution: &SenderKeyDistribution) {
        let SenderKeyDistribution { chain_id, iteration, chain_key, signing_key } = distribution.clone();
        let known = self.states.iter().position(|state| state.chain_id == chain_id);
        let state = match known.and_then(|place| self.states.remove(place)) {
            Some(state) if *state.verifier.key() == signing_key => state,
            _ => TheirState {
                chain_id,
                verifier: Verifier::new(&signing_key),
                window: KeyWindow::new(ChainKey::new(chain_key, iteration)),
            },
        };
        self.states.push_front(state);
        self.states.truncate(MAX_SENDER_KEY_STATES);
    }

    /// Verifies and decrypts. A failure changes nothing.
    pub fn decrypt(&mut self, message: &SenderKeyMessage, limit: JumpLimit) -> Result<Vec<u8>, SignalError> {
        let unknown = SignalError::UnknownSenderKey { chain_id: message.chain_id.0 };
        let state = self.states.iter_mut().find(|state| state.chain_id == message.chain_id).ok_or(unknown)?;
        if !message.is_signed_by(&state.verifier) {
            return Err(SignalError::BadSignature { what: "sender key message" });
        }
        state.window.open(message.iteration, limit, |seed| GroupMessageKey::expand(seed).open(&message.ciphertext))
    }
}

#[cfg(test)]
#[path = "sender_key_tests.rs"]
mod tests;
