//! Sender keys: one key per member encrypts for a whole group (`signal-protocol.txt`, "Sender Keys"; `wire-protocol.md` 2.2).
//!
//! Ours and theirs are different types: ours signs and moves on with each message; theirs verifies, and keeps five states,
//! because a member may begin a new key while messages under the old one are still on their way.

use super::SignalError;
use super::buffer::Buffer;
use super::chain_key::ChainKey;
use super::group_message::{ChainId, SIGNATURE, SenderKeyDistribution, SenderKeyMessage};
use super::keys::KeyPair;
use super::limits::MAX_SENDER_KEY_STATES;
use super::message_key::{MessageSeed, decrypt_into, encrypt_onto, hkdf_expand, padded};
use super::record::Part;
use super::window::{JumpLimit, KeyWindow};
use super::xeddsa::{Signer, Verifier};
use crate::base::secret::Secret;
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

    pub(super) fn seal(self, plaintext: &[u8], out: &mut Vec<u8>) {
        encrypt_onto(out, plaintext, &self.cipher, &self.iv);
    }

    pub(super) fn open(self, ciphertext: &[u8], out: &mut Vec<u8>) -> Result<(), SignalError> {
        decrypt_into(out, ciphertext, &self.cipher, &self.iv)
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
        Self::new(chain_id, ChainKey::sender(Secret::generate(rng), 0), KeyPair::generate(rng))
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

    /// The distribution message: its receiver decrypts later messages, and no earlier ones.
    pub fn distribution(&self) -> SenderKeyDistribution {
        SenderKeyDistribution {
            chain_id: self.chain_id,
            iteration: self.chain.index(),
            chain_key: self.chain.key().clone(),
            signing_key: *self.signing.public(),
        }
    }

    /// Encrypts for the group, and signs; the chain advances.
    pub fn encrypt<'b>(
        &mut self,
        plaintext: &[u8],
        rng: &mut dyn CryptoRng,
        buffer: &'b mut Buffer,
    ) -> Result<&'b [u8], SignalError> {
        let (seed, next) = self.chain.step()?;
        let message = buffer.begin(SenderKeyMessage::MAX_HEAD + padded(plaintext.len()) + SIGNATURE);
        SenderKeyMessage::put_head(message, self.chain_id, self.chain.index(), plaintext.len())?;
        GroupMessageKey::expand(&seed).seal(plaintext, message);
        let signature = self.signer.sign(message, rng);
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
    /// Stored blocks of removed states, to be deleted.
    pub(super) orphans: Vec<Part>,
}

impl TheirSenderKeys {
    /// Processes a distribution message. A known key keeps its position in the chain: a repeated distribution does not make
    /// old messages readable again.
    pub fn process(&mut self, distribution: &SenderKeyDistribution) {
        let SenderKeyDistribution { chain_id, iteration, chain_key, signing_key } = distribution.clone();
        let known = self.states.iter().position(|state| state.chain_id == chain_id);
        let known = known.and_then(|place| self.states.remove(place));
        let state = match known {
            Some(state) if *state.verifier.key() == signing_key => state,
            replaced => {
                replaced.iter().for_each(|state| self.forget(state));
                TheirState {
                    chain_id,
                    verifier: Verifier::new(&signing_key),
                    window: KeyWindow::new(ChainKey::sender(chain_key, iteration)),
                }
            }
        };
        self.states.push_front(state);
        if self.states.len() > MAX_SENDER_KEY_STATES
            && let Some(oldest) = self.states.pop_back()
        {
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, state: &TheirState) {
        let key = |block| Part::Keys { state: state.chain_id.0, chain: 0, block };
        self.orphans.extend(state.window.stored().map(key));
    }

    /// Verifies and decrypts. A failure changes nothing.
    pub fn decrypt<'b>(
        &mut self,
        message: &SenderKeyMessage,
        limit: JumpLimit,
        buffer: &'b mut Buffer,
    ) -> Result<&'b [u8], SignalError> {
        let unknown = SignalError::UnknownSenderKey { chain_id: message.chain_id.0 };
        let state = self.states.iter_mut().find(|state| state.chain_id == message.chain_id).ok_or(unknown)?;
        if !message.is_signed_by(&state.verifier) {
            return Err(SignalError::BadSignature { what: "sender key message" });
        }
        let ciphertext = message.ciphertext();
        let out = buffer.begin(ciphertext.len());
        state.window.open(message.iteration, limit, |seed| GroupMessageKey::expand(seed).open(ciphertext, out))?;
        Ok(buffer.as_slice())
    }
}

#[cfg(test)]
#[path = "sender_key_tests.rs"]
mod tests;
