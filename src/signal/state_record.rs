//! The stored form of one session state, with the field numbers of `message-fields.txt`; fields that are not in it have numbers from 100
//! on. Invariant: reading a written state gives the same state.

use super::SignalError;
use super::chain_key::ChainKey;
use super::fields::{put_key, put_message, put_uint, read};
use super::keys::{IdentityKey, KeyPair, PreparedPublicKey, PublicKey, SecretKey};
use super::prekey::{PreKeyId, SignedPreKeyId};
use super::ratchet::{PendingPreKey, ReceiverChain, Sender, SessionState};
use super::root_key::RootKey;
use super::window::KeyWindow;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use std::collections::VecDeque;

pub(super) fn put_state(out: &mut Vec<u8>, state: &SessionState) {
    put_uint(out, 1, 3u32);
    put_key(out, 2, state.local_identity.0.as_bytes());
    put_key(out, 3, state.remote_identity.0.as_bytes());
    put_key(out, 4, state.root.key().expose());
    put_uint(out, 5, state.previous_counter);
    put_message(out, 6, |out| match &state.sender {
        Sender::Ready { ratchet, chain } => {
            put_key(out, 1, ratchet.public().as_bytes());
            put_key(out, 2, ratchet.secret().expose());
            put_message(out, 3, |out| put_chain_key(out, chain));
        }
        // A ratchet key without a chain stands for a dropped chain.
        Sender::Spent { ratchet } => {
            put_key(out, 1, ratchet.public().as_bytes());
            put_key(out, 2, ratchet.secret().expose());
        }
        // A secret key alone stands for a deferred step; the peer's key is that of the newest receiver chain.
        Sender::Due { ratchet, .. } => put_key(out, 2, ratchet.expose()),
    });
    for receiver in &state.receivers {
        put_message(out, 7, |out| {
            put_key(out, 1, receiver.ratchet_key.as_bytes());
            put_message(out, 3, |out| put_chain_key(out, &receiver.window.chain));
            put_uint(out, 100, receiver.ordinal);
        });
    }
    if let Some(pending) = &state.pending {
        put_message(out, 9, |out| {
            if let Some(id) = pending.pre_key_id {
                put_uint(out, 1, id.get());
            }
            put_key(out, 2, pending.base_key.as_bytes());
            put_uint(out, 3, pending.signed_pre_key_id.get());
            put_uint(out, 100, pending.since.0);
        });
    }
    put_uint(out, 10, state.remote_registration_id);
    put_uint(out, 11, state.local_registration_id);
    put_key(out, 13, state.base_key.as_bytes());
    put_uint(out, 100, state.id);
    put_uint(out, 101, state.next_chain);
}

fn put_chain_key(out: &mut Vec<u8>, chain: &ChainKey) {
    put_uint(out, 1, chain.index());
    put_key(out, 2, chain.key().expose());
}

/// The fields of a chain, as they are found.
#[derive(Default)]
struct ChainFields<'a> {
    public: Option<&'a [u8]>,
    private: Option<&'a [u8]>,
    chain: Option<ChainKey>,
    ordinal: u32,
}

fn read_chain(bytes: &[u8]) -> Result<ChainFields<'_>, SignalError> {
    let mut chain = ChainFields::default();
    let mut key = None;
    read(bytes, |field, value| {
        match field {
            1 => chain.public = Some(value.bytes()?),
            2 => chain.private = Some(value.bytes()?),
            3 => key = Some(value.bytes()?),
            100 => chain.ordinal = value.uint32()?,
            _ => {}
        }
        Ok(())
    })
    .map_err(|_| corrupt("chain"))?;
    chain.chain = key.map(read_chain_key).transpose()?;
    Ok(chain)
}

fn read_chain_key(bytes: &[u8]) -> Result<ChainKey, SignalError> {
    let (mut index, mut key) = (0, None);
    read(bytes, |field, value| {
        match field {
            1 => index = value.uint32()?,
            2 => key = Some(value.bytes()?),
            _ => {}
        }
        Ok(())
    })
    .map_err(|_| corrupt("chain key"))?;
    Ok(ChainKey::message(secret32(key)?, index))
}

pub(super) fn read_state(bytes: &[u8]) -> Result<SessionState, SignalError> {
    let (mut local, mut remote, mut root, mut base_key) = (None, None, None, None);
    let (mut previous_counter, mut id, mut next_chain) = (0, 0, 0);
    let (mut local_registration_id, mut remote_registration_id) = (0, 0);
    let (mut sender, mut pending) = (None, None);
    let mut receivers = Vec::new();
    read(bytes, |field, value| {
        match field {
            2 => local = Some(value.bytes()?),
            3 => remote = Some(value.bytes()?),
            4 => root = Some(value.bytes()?),
            5 => previous_counter = value.uint32()?,
            6 => sender = Some(value.bytes()?),
            7 => receivers.push(value.bytes()?),
            9 => pending = Some(value.bytes()?),
            10 => remote_registration_id = value.uint32()?,
            11 => local_registration_id = value.uint32()?,
            13 => base_key = Some(value.bytes()?),
            100 => id = value.uint32()?,
            101 => next_chain = value.uint32()?,
            _ => {}
        }
        Ok(())
    })
    .map_err(|_| corrupt("session state"))?;
    let receivers = receivers.into_iter().map(read_receiver).collect::<Result<VecDeque<_>, _>>()?;
    Ok(SessionState {
        id,
        next_chain,
        local_identity: IdentityKey(public(local)?),
        remote_identity: IdentityKey(public(remote)?),
        local_registration_id,
        remote_registration_id,
        root: RootKey::new(secret32(root)?),
        previous_counter,
        sender: read_sender(sender.unwrap_or_default(), receivers.back())?,
        receivers,
        pending: pending.map(read_pending).transpose()?,
        base_key: public(base_key)?,
    })
}

fn read_sender(bytes: &[u8], newest: Option<&ReceiverChain>) -> Result<Sender, SignalError> {
    let fields = read_chain(bytes)?;
    let private = fields.private.unwrap_or_default();
    let ratchet = SecretKey::parse(private, "stored ratchet key").map_err(|_| corrupt("ratchet key"))?;
    match (fields.chain, fields.public, newest) {
        (Some(chain), Some(key), _) => {
            Ok(Sender::Ready { ratchet: KeyPair::from_stored(ratchet, public(Some(key))?), chain })
        }
        (None, Some(key), _) => Ok(Sender::Spent { ratchet: KeyPair::from_stored(ratchet, public(Some(key))?) }),
        (None, None, Some(newest)) => Ok(Sender::Due { ratchet, theirs: PreparedPublicKey::new(&newest.ratchet_key) }),
        _ => Err(corrupt("sender chain")),
    }
}

fn read_receiver(bytes: &[u8]) -> Result<ReceiverChain, SignalError> {
    let fields = read_chain(bytes)?;
    Ok(ReceiverChain {
        ratchet_key: public(fields.public)?,
        ordinal: fields.ordinal,
        window: KeyWindow::new(fields.chain.ok_or(corrupt("chain key"))?),
    })
}

fn read_pending(bytes: &[u8]) -> Result<PendingPreKey, SignalError> {
    let (mut pre_key_id, mut base_key, mut signed, mut since) = (None, None, 0, 0);
    read(bytes, |field, value| {
        match field {
            1 => pre_key_id = Some(value.uint32()?),
            2 => base_key = Some(value.bytes()?),
            3 => signed = value.uint32()?,
            100 => since = value.uint64()?,
            _ => {}
        }
        Ok(())
    })
    .map_err(|_| corrupt("pending prekey"))?;
    Ok(PendingPreKey {
        pre_key_id: pre_key_id.map(PreKeyId::new).transpose()?,
        signed_pre_key_id: SignedPreKeyId::new(signed)?,
        base_key: public(base_key)?,
        since: Timestamp(since),
    })
}

fn public(bytes: Option<&[u8]>) -> Result<PublicKey, SignalError> {
    PublicKey::parse(bytes.unwrap_or_default(), "stored public key").map_err(|_| corrupt("public key"))
}

fn secret32(bytes: Option<&[u8]>) -> Result<Secret<32>, SignalError> {
    Secret::from_slice(bytes.unwrap_or_default()).ok_or(corrupt("secret"))
}

pub(super) fn corrupt(what: &'static str) -> SignalError {
    SignalError::CorruptRecord { what }
}
