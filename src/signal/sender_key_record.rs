//! The stored forms of sender keys: a format version byte, then the structure of `message-fields.txt`, message keys as seeds.

use super::SignalError;
use super::chain_key::ChainKey;
use super::group_message::ChainId;
use super::keys::{KeyPair, PublicKey, SecretKey};
use super::proto::{SenderKeyRecordStructure, SenderKeyStateStructure, sender_key_state_structure as fields};
use super::sender_key::{OurSenderKey, TheirSenderKeys, TheirState};
use super::window::KeyWindow;
use super::xeddsa::Verifier;
use crate::base::secret::Secret;
use prost::Message;
use zeroize::Zeroizing;

/// The format of sender-key records that this build writes and reads.
pub const SENDER_KEY_FORMAT: u8 = 1;

impl OurSenderKey {
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        encode(vec![SenderKeyStateStructure {
            sender_key_id: Some(self.chain_id.0),
            sender_chain_key: Some(chain_key(&self.chain)),
            sender_signing_key: Some(fields::SenderSigningKey {
                public: Some(self.signing.public().as_bytes().to_vec()),
                private: Some(self.signing.secret().expose().to_vec()),
            }),
            sender_message_keys: Vec::new(),
        }])
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, SignalError> {
        let state = decode(bytes)?.pop().ok_or(corrupt("sender key"))?;
        let signing = state.sender_signing_key.unwrap_or_default();
        let secret = Zeroizing::new(signing.private.unwrap_or_default());
        let secret = SecretKey::parse(&secret, "stored signing key").map_err(|_| corrupt("signing key"))?;
        let chain_id = ChainId(state.sender_key_id.ok_or(corrupt("chain id"))?);
        Ok(Self::new(chain_id, read_chain_key(state.sender_chain_key)?, KeyPair::from_secret(secret)))
    }
}

impl TheirSenderKeys {
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let states = self.states.iter().map(|state| SenderKeyStateStructure {
            sender_key_id: Some(state.chain_id.0),
            sender_chain_key: Some(chain_key(&state.window.chain)),
            sender_signing_key: Some(fields::SenderSigningKey {
                public: Some(state.verifier.key().as_bytes().to_vec()),
                private: None,
            }),
            sender_message_keys: (state.window.skipped.iter())
                .map(|(iteration, seed)| fields::SenderMessageKey {
                    iteration: Some(*iteration),
                    seed: Some(seed.expose().to_vec()),
                })
                .collect(),
        });
        encode(states.collect())
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, SignalError> {
        let states = decode(bytes)?.into_iter().map(read_state).collect::<Result<_, _>>()?;
        Ok(Self { states })
    }
}

fn read_state(state: SenderKeyStateStructure) -> Result<TheirState, SignalError> {
    let signing = state.sender_signing_key.and_then(|key| key.public).unwrap_or_default();
    let signing = PublicKey::parse(&signing, "stored signing key").map_err(|_| corrupt("signing key"))?;
    let skipped = state.sender_message_keys.into_iter();
    Ok(TheirState {
        chain_id: ChainId(state.sender_key_id.ok_or(corrupt("chain id"))?),
        verifier: Verifier::new(&signing),
        window: KeyWindow {
            chain: read_chain_key(state.sender_chain_key)?,
            skipped: skipped
                .map(|key| Ok((key.iteration.ok_or(corrupt("message key"))?, secret32(key.seed)?)))
                .collect::<Result<_, SignalError>>()?,
        },
    })
}

fn chain_key(chain: &ChainKey) -> fields::SenderChainKey {
    fields::SenderChainKey { iteration: Some(chain.index()), seed: Some(chain.key().expose().to_vec()) }
}

fn read_chain_key(chain: Option<fields::SenderChainKey>) -> Result<ChainKey, SignalError> {
    let chain = chain.ok_or(corrupt("chain key"))?;
    Ok(ChainKey::new(secret32(chain.seed)?, chain.iteration.unwrap_or_default()))
}

fn secret32(bytes: Option<Vec<u8>>) -> Result<Secret<32>, SignalError> {
    Secret::from_slice(&Zeroizing::new(bytes.unwrap_or_default())).ok_or(corrupt("secret"))
}

fn encode(sender_key_states: Vec<SenderKeyStateStructure>) -> Zeroizing<Vec<u8>> {
    let record = SenderKeyRecordStructure { sender_key_states };
    let mut out = Zeroizing::new(Vec::with_capacity(1 + record.encoded_len()));
    out.push(SENDER_KEY_FORMAT);
    out.extend_from_slice(&Zeroizing::new(record.encode_to_vec()));
    out
}

fn decode(bytes: &[u8]) -> Result<Vec<SenderKeyStateStructure>, SignalError> {
    match bytes.split_first() {
        Some((&SENDER_KEY_FORMAT, body)) => SenderKeyRecordStructure::decode(body)
            .map(|record| record.sender_key_states)
            .map_err(|_| corrupt("structure")),
        _ => Err(corrupt("format version")),
    }
}

fn corrupt(what: &'static str) -> SignalError {
    SignalError::CorruptRecord { what }
}
