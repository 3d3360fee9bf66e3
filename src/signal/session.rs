//! A session with one device: the current state and the archived ones (`signal-protocol.txt`, "Message Decryption").
//!
//! Invariants: a failed operation leaves the session as it was; a state that decrypts becomes the current one.

use super::SignalError;
use super::keys::{IdentityKey, IdentityKeyPair, KeyPair, PreparedPublicKey, PublicKey};
use super::limits::ARCHIVED_STATES_MAX_LENGTH;
use super::message::{Ciphertext, PreKeySignalMessage, SignalMessage};
use super::prekey::{PreKeyId, PreKeyPair, SignedPreKeyPair, VerifiedBundle};
use super::ratchet::{Parties, PendingPreKey, SessionState};
use super::window::JumpLimit;
use super::x3dh;
use rand::CryptoRng;
use std::collections::VecDeque;
use std::sync::Arc;

/// Our end of every session.
#[derive(Clone, Debug)]
pub struct LocalParty {
    pub identity: IdentityKeyPair,
    pub registration_id: u32,
}

/// A session with one device. `Session::default()` is one that does not exist yet.
#[derive(Clone, Debug, Default)]
pub struct Session {
    pub(super) current: Option<SessionState>,
    /// Newest first; shared, so that cloning a session is cheap.
    pub(super) archived: VecDeque<Arc<SessionState>>,
}

impl Session {
    /// Whether messages can be encrypted.
    pub fn is_established(&self) -> bool {
        self.current.is_some()
    }

    /// The identity that the current state was set up with.
    pub fn remote_identity(&self) -> Option<IdentityKey> {
        self.current.as_ref().map(|state| state.remote_identity)
    }

    /// The peer's registration id as of the current state.
    pub fn remote_registration_id(&self) -> Option<u32> {
        self.current.as_ref().map(|state| state.remote_registration_id)
    }

    /// Begins a new state as initiator; the current one is archived. The first messages will be PreKey messages.
    pub fn initiate(
        &mut self,
        local: &LocalParty,
        bundle: &VerifiedBundle,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), SignalError> {
        let base = KeyPair::generate(rng);
        let ratchet = KeyPair::generate(rng);
        self.initiate_with(local, bundle, &base, ratchet)
    }

    fn initiate_with(
        &mut self,
        local: &LocalParty,
        bundle: &VerifiedBundle,
        base: &KeyPair,
        ratchet: KeyPair,
    ) -> Result<(), SignalError> {
        let bundle = bundle.get();
        let one_time = bundle.one_time.as_ref().map(|(_, key)| key);
        let signed = PreparedPublicKey::new(&bundle.signed_pre_key);
        let agreement = x3dh::initiate(&local.identity, base, &bundle.identity, &signed, one_time)?;
        let parties = Parties {
            local: local.identity.public(),
            remote: bundle.identity,
            local_registration_id: local.registration_id,
            remote_registration_id: bundle.registration_id,
        };
        let pending = PendingPreKey {
            pre_key_id: bundle.one_time.as_ref().map(|(id, _)| *id),
            signed_pre_key_id: bundle.signed_pre_key_id,
            base_key: *base.public(),
        };
        let state = SessionState::initiator(&parties, agreement, (bundle.signed_pre_key, &signed), ratchet, pending)?;
        self.replace_current(state);
        Ok(())
    }

    /// Encrypts for the peer; the sending chain moves on.
    pub fn encrypt(&mut self, plaintext: &[u8]) -> Result<Ciphertext, SignalError> {
        self.current.as_mut().ok_or(SignalError::NoSession)?.encrypt(plaintext)
    }

    /// Whether the message belongs to a state that exists: then it needs none of our prekeys.
    pub fn knows(&self, message: &PreKeySignalMessage) -> bool {
        self.position(&message.base_key).is_some()
    }

    /// Decrypts a Signal message with the current or an archived state.
    pub fn decrypt(
        &mut self,
        message: &SignalMessage,
        limit: JumpLimit,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, SignalError> {
        let Some(current) = &mut self.current else {
            return Err(SignalError::NoSession);
        };
        let mut worst = match current.decrypt(message, limit, rng) {
            Ok(plaintext) => return Ok(plaintext),
            Err(error) => error,
        };
        for index in 0..self.archived.len() {
            match Arc::make_mut(&mut self.archived[index]).decrypt(message, limit, rng) {
                Ok(plaintext) => {
                    self.promote(index);
                    return Ok(plaintext);
                }
                Err(error) if precedence(&error) > precedence(&worst) => worst = error,
                Err(_) => {}
            }
        }
        Err(worst)
    }

    /// Decrypts a PreKey message of a state that [`knows`](Self::knows) it.
    pub fn decrypt_known(
        &mut self,
        message: &PreKeySignalMessage,
        limit: JumpLimit,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, SignalError> {
        match self.position(&message.base_key) {
            None => Err(SignalError::NoSession),
            Some(None) => self.current.as_mut().ok_or(SignalError::NoSession)?.decrypt(&message.message, limit, rng),
            Some(Some(index)) => {
                let plaintext = Arc::make_mut(&mut self.archived[index]).decrypt(&message.message, limit, rng)?;
                self.promote(index);
                Ok(plaintext)
            }
        }
    }

    /// Sets up a new state from a PreKey message and decrypts it; the current state is archived.
    ///
    /// Returns the plaintext and the one-time prekey that is used up: the caller deletes it with the commit that stores
    /// this session, never before.
    pub fn accept(
        &mut self,
        local: &LocalParty,
        signed_prekey: &SignedPreKeyPair,
        one_time: Option<&PreKeyPair>,
        message: &PreKeySignalMessage,
        limit: JumpLimit,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Vec<u8>, Option<PreKeyId>), SignalError> {
        if signed_prekey.id != message.signed_pre_key_id {
            return Err(SignalError::UnknownSignedPreKey { id: message.signed_pre_key_id.get() });
        }
        if one_time.map(|key| key.id) != message.pre_key_id {
            return Err(SignalError::UnknownPreKey { id: message.pre_key_id.map_or(0, PreKeyId::get) });
        }
        let agreement = x3dh::respond(
            &local.identity,
            &signed_prekey.pair,
            one_time.map(|key| &key.pair),
            &message.identity_key,
            &message.base_key,
        )?;
        let parties = Parties {
            local: local.identity.public(),
            remote: message.identity_key,
            local_registration_id: local.registration_id,
            remote_registration_id: message.registration_id,
        };
        let mut state = SessionState::responder(&parties, agreement, signed_prekey.pair.clone(), message.base_key);
        let plaintext = state.decrypt(&message.message, limit, rng)?;
        self.replace_current(state);
        Ok((plaintext, message.pre_key_id))
    }

    /// Where the state with this base key is: `Some(None)` is the current one.
    fn position(&self, base_key: &PublicKey) -> Option<Option<usize>> {
        if self.current.as_ref().is_some_and(|state| state.base_key == *base_key) {
            return Some(None);
        }
        self.archived.iter().position(|state| state.base_key == *base_key).map(Some)
    }

    fn promote(&mut self, index: usize) {
        if let Some(state) = self.archived.remove(index) {
            self.replace_current(Arc::unwrap_or_clone(state));
        }
    }

    fn replace_current(&mut self, state: SessionState) {
        if let Some(old) = self.current.replace(state) {
            self.archived.push_front(Arc::new(old));
            self.archived.truncate(ARCHIVED_STATES_MAX_LENGTH);
        }
    }
}

/// Which of several states' errors tells most (`wire-protocol.md` 2.4).
fn precedence(error: &SignalError) -> u8 {
    match error {
        SignalError::Duplicate { .. } => 3,
        SignalError::InvalidKey { .. } => 2,
        SignalError::BadMac { .. } => 1,
        _ => 0,
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
