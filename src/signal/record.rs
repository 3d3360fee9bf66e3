//! The stored form of a session: a format version byte, then a protobuf with the field numbers of `message-fields.txt`
//! (skipped keys as seeds in field 100).

use super::SignalError;
use super::chain_key::ChainKey;
use super::keys::{IdentityKey, KeyPair, PublicKey, SecretKey};
use super::prekey::{PreKeyId, SignedPreKeyId};
use super::proto::session_structure as fields;
use super::proto::{RecordStructure, SessionStructure};
use super::ratchet::{PendingPreKey, ReceiverChain, SenderChain, SessionState};
use super::root_key::RootKey;
use super::session::Session;
use super::window::KeyWindow;
use crate::base::secret::Secret;
use prost::Message;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The format of session records that this build writes and reads.
pub const SESSION_FORMAT: u8 = 1;

impl Session {
    /// The record of this session.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let record = RecordStructure {
            current_session: self.current.as_ref().map(encode_state),
            previous_sessions: self.archived.iter().map(|state| encode_state(state)).collect(),
        };
        let mut out = Vec::with_capacity(1 + record.encoded_len());
        out.push(SESSION_FORMAT);
        out.extend_from_slice(&Zeroizing::new(record.encode_to_vec()));
        Zeroizing::new(out)
    }

    /// Reads a record that [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, SignalError> {
        let Some((&SESSION_FORMAT, body)) = bytes.split_first() else {
            return Err(corrupt("format version"));
        };
        let record = RecordStructure::decode(body).map_err(|_| corrupt("structure"))?;
        Ok(Self {
            current: record.current_session.map(decode_state).transpose()?,
            archived: record
                .previous_sessions
                .into_iter()
                .map(|state| decode_state(state).map(Arc::new))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn encode_state(state: &SessionState) -> SessionStructure {
    SessionStructure {
        session_version: Some(3),
        local_identity_public: Some(state.local_identity.0.as_bytes().to_vec()),
        remote_identity_public: Some(state.remote_identity.0.as_bytes().to_vec()),
        root_key: Some(state.root.key().expose().to_vec()),
        previous_counter: Some(state.previous_counter),
        sender_chain: Some(fields::Chain {
            sender_ratchet_key: Some(state.sender.ratchet.public().as_bytes().to_vec()),
            sender_ratchet_key_private: Some(state.sender.ratchet.secret().expose().to_vec()),
            chain_key: Some(encode_chain_key(&state.sender.chain)),
            message_keys: Vec::new(),
        }),
        receiver_chains: state.receivers.iter().map(encode_receiver).collect(),
        pending_pre_key: state.pending.as_ref().map(|pending| fields::PendingPreKey {
            pre_key_id: pending.pre_key_id.map(PreKeyId::get),
            base_key: Some(pending.base_key.as_bytes().to_vec()),
            signed_pre_key_id: Some(pending.signed_pre_key_id.get()),
        }),
        remote_registration_id: Some(state.remote_registration_id),
        local_registration_id: Some(state.local_registration_id),
        alice_base_key: Some(state.base_key.as_bytes().to_vec()),
    }
}

fn encode_receiver(receiver: &ReceiverChain) -> fields::Chain {
    let skipped = receiver.window.skipped.iter();
    fields::Chain {
        sender_ratchet_key: Some(receiver.ratchet_key.as_bytes().to_vec()),
        sender_ratchet_key_private: None,
        chain_key: Some(encode_chain_key(&receiver.window.chain)),
        message_keys: skipped
            .map(|(index, seed)| fields::chain::MessageKey { index: Some(*index), seed: Some(seed.expose().to_vec()) })
            .collect(),
    }
}

fn encode_chain_key(chain: &ChainKey) -> fields::chain::ChainKey {
    fields::chain::ChainKey { index: Some(chain.index()), key: Some(chain.key().expose().to_vec()) }
}

fn decode_state(state: SessionStructure) -> Result<SessionState, SignalError> {
    let sender = state.sender_chain.ok_or(corrupt("sender chain"))?;
    let secret = Zeroizing::new(sender.sender_ratchet_key_private.unwrap_or_default());
    Ok(SessionState {
        local_identity: IdentityKey(public(state.local_identity_public)?),
        remote_identity: IdentityKey(public(state.remote_identity_public)?),
        local_registration_id: state.local_registration_id.unwrap_or_default(),
        remote_registration_id: state.remote_registration_id.unwrap_or_default(),
        root: RootKey::new(secret32(state.root_key)?),
        previous_counter: state.previous_counter.unwrap_or_default(),
        sender: SenderChain {
            ratchet: KeyPair::from_secret(SecretKey::parse(&secret, "stored ratchet key")?),
            chain: decode_chain_key(sender.chain_key)?,
        },
        receivers: state.receiver_chains.into_iter().map(decode_receiver).collect::<Result<_, _>>()?,
        pending: state.pending_pre_key.map(decode_pending).transpose()?,
        base_key: public(state.alice_base_key)?,
    })
}

fn decode_receiver(chain: fields::Chain) -> Result<ReceiverChain, SignalError> {
    let skipped = chain.message_keys.into_iter();
    Ok(ReceiverChain {
        ratchet_key: public(chain.sender_ratchet_key)?,
        window: KeyWindow {
            chain: decode_chain_key(chain.chain_key)?,
            skipped: skipped
                .map(|key| Ok((key.index.ok_or(corrupt("message key"))?, secret32(key.seed)?)))
                .collect::<Result<_, SignalError>>()?,
        },
    })
}

fn decode_pending(pending: fields::PendingPreKey) -> Result<PendingPreKey, SignalError> {
    Ok(PendingPreKey {
        pre_key_id: pending.pre_key_id.map(PreKeyId::new).transpose()?,
        signed_pre_key_id: SignedPreKeyId::new(pending.signed_pre_key_id.unwrap_or_default())?,
        base_key: public(pending.base_key)?,
    })
}

fn decode_chain_key(chain: Option<fields::chain::ChainKey>) -> Result<ChainKey, SignalError> {
    let chain = chain.ok_or(corrupt("chain key"))?;
    Ok(ChainKey::new(secret32(chain.key)?, chain.index.unwrap_or_default()))
}

fn public(bytes: Option<Vec<u8>>) -> Result<PublicKey, SignalError> {
    PublicKey::parse(&bytes.unwrap_or_default(), "stored public key").map_err(|_| corrupt("public key"))
}

fn secret32(bytes: Option<Vec<u8>>) -> Result<Secret<32>, SignalError> {
    Secret::from_slice(&Zeroizing::new(bytes.unwrap_or_default())).ok_or(corrupt("secret"))
}

fn corrupt(what: &'static str) -> SignalError {
    SignalError::CorruptRecord { what }
}
