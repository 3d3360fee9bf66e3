//! The stored forms of sender keys. Ours is one record; theirs a head with the states, and their skipped keys in blocks, as a
//! session's are (see `record`). Each is a format version byte, then the structure of `message-fields.txt`.

use super::SignalError;
use super::chain_key::ChainKey;
use super::group_message::ChainId;
use super::keys::{KeyPair, PublicKey, SecretKey};
use super::proto::{SenderKeyRecordStructure, SenderKeyStateStructure, sender_key_state_structure as fields};
use super::record::{Part, PartChanges, open_keys, seal_keys};
use super::sender_key::{OurSenderKey, TheirSenderKeys, TheirState};
use super::window::KeyWindow;
use super::xeddsa::Verifier;
use crate::base::secret::Secret;
use prost::Message;
use zeroize::Zeroizing;

/// The format of sender-key records that this build writes and reads.
pub const SENDER_KEY_FORMAT: u8 = 2;

impl OurSenderKey {
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        encode(vec![SenderKeyStateStructure {
            sender_key_id: Some(self.chain_id.0),
            sender_chain_key: Some(chain_key(&self.chain)),
            sender_signing_key: Some(fields::SenderSigningKey {
                public: Some(self.signing.public().as_bytes().to_vec()),
                private: Some(self.signing.secret().expose().to_vec()),
            }),
        }])
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, SignalError> {
        let mut state = decode(bytes)?.sender_key_states.pop().ok_or(corrupt("sender key"))?;
        let signing = state.sender_signing_key.take().unwrap_or_default();
        let secret = SecretKey::parse(signing.private(), "stored signing key").map_err(|_| corrupt("signing key"))?;
        let chain_id = ChainId(state.sender_key_id.ok_or(corrupt("chain id"))?);
        Ok(Self::new(chain_id, read_chain_key(&state)?, KeyPair::from_secret(secret)))
    }
}

impl TheirSenderKeys {
    /// Takes the changes that bring the stored parts up to date; they count as stored from now on.
    pub fn take_changes(&mut self) -> PartChanges {
        let mut changes: PartChanges = self.orphans.drain(..).map(|part| (part, None)).collect();
        for state in &mut self.states {
            let id = state.chain_id.0;
            for (block, keys) in state.window.take_touched() {
                let part = Part::Keys { state: id, chain: 0, block };
                changes.push((part, (!keys.is_empty()).then(|| seal_keys(&keys))));
            }
        }
        changes.push((Part::Head, Some(self.head())));
        changes
    }

    /// The whole record: every part, whether it is stored or not.
    pub fn to_parts(&self) -> Vec<(Part, Zeroizing<Vec<u8>>)> {
        let mut parts = vec![(Part::Head, self.head())];
        for state in &self.states {
            let key = |block| Part::Keys { state: state.chain_id.0, chain: 0, block };
            parts.extend(state.window.blocks().map(|(block, keys)| (key(block), seal_keys(&keys))));
        }
        parts.sort_by_key(|(part, _)| *part);
        parts
    }

    /// Reads keys from all their stored parts, in the order of their keys. Without parts there is no key yet.
    pub fn from_parts<B: AsRef<[u8]>>(parts: impl IntoIterator<Item = (Part, B)>) -> Result<Self, SignalError> {
        let mut parts = parts.into_iter();
        let Some((Part::Head, head)) = parts.next() else {
            return if parts.next().is_none() {
                Ok(Self::default())
            } else {
                Err(corrupt("sender key without its head"))
            };
        };
        let head = decode(head.as_ref())?;
        let states = head.sender_key_states.iter().map(read_state).collect::<Result<_, _>>()?;
        let mut keys = Self { states, orphans: Vec::new() };
        for (part, bytes) in parts {
            let misplaced = || corrupt("block of skipped keys");
            let Part::Keys { state, chain: 0, block } = part else { return Err(misplaced()) };
            let state = keys.states.iter_mut().find(|candidate| candidate.chain_id.0 == state).ok_or(misplaced())?;
            if !state.window.restore_block(block, open_keys(bytes.as_ref())?) {
                return Err(misplaced());
            }
        }
        Ok(keys)
    }

    fn head(&self) -> Zeroizing<Vec<u8>> {
        let states = self.states.iter().map(|state| SenderKeyStateStructure {
            sender_key_id: Some(state.chain_id.0),
            sender_chain_key: Some(chain_key(&state.window.chain)),
            sender_signing_key: Some(fields::SenderSigningKey {
                public: Some(state.verifier.key().as_bytes().to_vec()),
                private: None,
            }),
        });
        encode(states.collect())
    }
}

fn read_state(state: &SenderKeyStateStructure) -> Result<TheirState, SignalError> {
    let signing = state.sender_signing_key.as_ref().map(fields::SenderSigningKey::public).unwrap_or_default();
    let signing = PublicKey::parse(signing, "stored signing key").map_err(|_| corrupt("signing key"))?;
    Ok(TheirState {
        chain_id: ChainId(state.sender_key_id.ok_or(corrupt("chain id"))?),
        verifier: Verifier::new(&signing),
        window: KeyWindow::new(read_chain_key(state)?),
    })
}

fn chain_key(chain: &ChainKey) -> fields::SenderChainKey {
    fields::SenderChainKey { iteration: Some(chain.index()), seed: Some(chain.key().expose().to_vec()) }
}

fn read_chain_key(state: &SenderKeyStateStructure) -> Result<ChainKey, SignalError> {
    let chain = state.sender_chain_key.as_ref().ok_or(corrupt("chain key"))?;
    Ok(ChainKey::sender(Secret::from_slice(chain.seed()).ok_or(corrupt("secret"))?, chain.iteration()))
}

fn encode(sender_key_states: Vec<SenderKeyStateStructure>) -> Zeroizing<Vec<u8>> {
    let record = SenderKeyRecordStructure { sender_key_states };
    let mut out = Zeroizing::new(Vec::with_capacity(1 + record.encoded_len()));
    out.push(SENDER_KEY_FORMAT);
    let written = record.encode(&mut *out);
    debug_assert!(written.is_ok(), "a vector grows");
    out
}

fn decode(bytes: &[u8]) -> Result<SenderKeyRecordStructure, SignalError> {
    match bytes.split_first() {
        Some((&SENDER_KEY_FORMAT, body)) => SenderKeyRecordStructure::decode(body).map_err(|_| corrupt("sender key")),
        _ => Err(corrupt("format version of a sender key")),
    }
}

fn corrupt(what: &'static str) -> SignalError {
    SignalError::CorruptRecord { what }
}
