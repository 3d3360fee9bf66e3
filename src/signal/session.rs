//! A session with one device: the current state and the archived ones (`signal-protocol.txt`, "Message Decryption").
//!
//! Invariants: a failed operation leaves the session as it was; a state that decrypts becomes the current one; messages are
//! encrypted for, and decrypted from, a trusted identity only.

use super::buffer::Buffer;
use super::keys::{IdentityKey, IdentityKeyPair, KeyPair, PreparedPublicKey};
use super::limits::{ARCHIVED_STATES_MAX_LENGTH, MAX_ARCHIVED_KEYS};
use super::message::{Ciphertext, PreKeySignalMessage, SignalMessage};
use super::prekey::{PreKeyId, PreKeyPair, SignedPreKeyPair, VerifiedBundle};
use super::ratchet::{Parties, PendingPreKey, ReceiverChain, SessionState};
use super::record::Stored;
use super::window::JumpLimit;
use super::{SignalError, x3dh};
use crate::base::address::ProtocolAddress;
use crate::base::time::Timestamp;
use rand::CryptoRng;
use std::collections::VecDeque;
use std::sync::Arc;

/// Our end of every session.
#[derive(Clone, Debug)]
pub struct LocalParty {
    pub identity: IdentityKeyPair,
    pub registration_id: u32,
}

/// The other end of one session.
#[derive(Clone, Debug)]
pub struct RemoteParty {
    pub address: ProtocolAddress,
    /// The trusted identity; `None` trusts the first one (trust on first use).
    pub identity: Option<IdentityKey>,
}

impl RemoteParty {
    /// Fails for an identity that is not trusted.
    pub(super) fn check(&self, presented: &IdentityKey) -> Result<(), SignalError> {
        match self.identity {
            Some(known) if known != *presented => {
                Err(SignalError::UntrustedIdentity { address: self.address.clone(), known, presented: *presented })
            }
            _ => Ok(()),
        }
    }
}

/// The arguments of an operation: peer, limits, clock, randomness, buffer.
pub struct Context<'b> {
    pub remote: &'b RemoteParty,
    pub limit: JumpLimit,
    pub now: Timestamp,
    pub rng: &'b mut dyn CryptoRng,
    /// Receives the result.
    pub buffer: &'b mut Buffer,
}

/// A session with one device. `Session::default()` is the missing session.
#[derive(Clone, Debug, Default)]
pub struct Session {
    pub(super) current: Option<SessionState>,
    /// Newest first; shared, so that cloning a session is cheap.
    pub(super) archived: VecDeque<Arc<SessionState>>,
    pub(super) next_state: u32,
    pub(super) stored: Stored,
}

impl Session {
    /// Whether messages can be encrypted: there is a current state with the trusted identity, which can send and has not
    /// gone stale unanswered.
    pub fn is_usable(&self, remote: &RemoteParty, now: Timestamp) -> bool {
        let usable = |state: &SessionState| {
            remote.check(&state.remote_identity).is_ok() && state.can_send() && state.staleness(now).is_none()
        };
        self.current.as_ref().is_some_and(usable)
    }

    /// Whether there is no state at all: the session does not exist.
    pub fn is_empty(&self) -> bool {
        self.current.is_none() && self.archived.is_empty()
    }

    /// The registration id of the installation that the current state is with.
    pub fn remote_registration_id(&self) -> Option<u32> {
        self.current.as_ref().map(|state| state.remote_registration_id)
    }

    /// The identity that the current state was set up with.
    pub fn remote_identity(&self) -> Option<IdentityKey> {
        self.current.as_ref().map(|state| state.remote_identity)
    }

    /// Starts a new state as initiator; the current one is archived. The first messages will be PreKey messages.
    pub fn initiate(
        &mut self,
        local: &LocalParty,
        remote: &RemoteParty,
        bundle: &VerifiedBundle,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), SignalError> {
        let base = KeyPair::generate(rng);
        let ratchet = KeyPair::generate(rng);
        self.initiate_with(local, remote, bundle, now, (&base, ratchet))
    }

    fn initiate_with(
        &mut self,
        local: &LocalParty,
        remote: &RemoteParty,
        verified: &VerifiedBundle,
        now: Timestamp,
        (base, ratchet): (&KeyPair, KeyPair),
    ) -> Result<(), SignalError> {
        let bundle = verified.get();
        remote.check(&bundle.identity)?;
        let signed = PreparedPublicKey::new(&bundle.signed_pre_key);
        let (agreement, turn) = x3dh::initiate(
            &local.identity,
            (base, &ratchet),
            verified.identity(),
            &signed,
            bundle.one_time.as_ref().map(|(_, key)| key),
        )?;
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
            since: now,
        };
        let state = SessionState::initiator(&parties, agreement, bundle.signed_pre_key, (ratchet, &turn), pending);
        self.begin(state);
        Ok(())
    }

    /// Encrypts for the peer; the sending chain advances.
    pub fn encrypt<'b>(&mut self, plaintext: &[u8], ctx: Context<'b>) -> Result<Ciphertext<'b>, SignalError> {
        self.current.as_mut().ok_or(SignalError::NoSession)?.encrypt(plaintext, ctx)
    }

    /// Whether the message belongs to a state that exists: then it needs none of our prekeys.
    pub fn knows(&self, message: &PreKeySignalMessage) -> bool {
        self.position(message).is_some()
    }

    /// Decrypts a Signal message with the current or an archived state.
    ///
    /// A state that holds the message's ratchet key is the only one that can decrypt it. Without one, the current state is tried, and the
    /// archived ones with a smaller jump limit: a forged message costs little more than a lost one.
    pub fn decrypt<'b>(&mut self, message: &SignalMessage, mut ctx: Context<'b>) -> Result<&'b [u8], SignalError> {
        let holds = |state: &SessionState| state.holds(message);
        let is_held = self.current.as_ref().is_some_and(holds) || self.archived.iter().any(|state| holds(state));
        let mut worst = None;
        if let Some(current) = self.current.as_mut().filter(|current| !is_held || holds(current)) {
            match decrypt_with(current, message, &mut ctx) {
                Ok(dropped) => {
                    self.stored.forget_chain(current.id, dropped.as_ref());
                    return Ok(ctx.buffer.as_slice());
                }
                Err(error) => worst = Some(error),
            }
        }
        let Some(limit) = (if is_held { Some(ctx.limit) } else { ctx.limit.of_strays() }) else {
            return Err(worst.unwrap_or(SignalError::NoSession));
        };
        ctx.limit = limit;
        for index in 0..self.archived.len() {
            let state = &self.archived[index];
            if !holds(state) && (is_held || !state.awaits_a_step()) {
                continue;
            }
            match decrypt_with(Arc::make_mut(&mut self.archived[index]), message, &mut ctx) {
                Ok(dropped) => {
                    self.promote(index, dropped.as_ref());
                    return Ok(ctx.buffer.as_slice());
                }
                Err(error) if worst.as_ref().is_none_or(|worst| precedence(&error) > precedence(worst)) => {
                    worst = Some(error);
                }
                Err(_) => {}
            }
        }
        Err(worst.unwrap_or(SignalError::NoSession))
    }

    /// Decrypts a PreKey message of a state that [`knows`](Self::knows) it.
    pub fn decrypt_known<'b>(
        &mut self,
        message: &PreKeySignalMessage,
        mut ctx: Context<'b>,
    ) -> Result<&'b [u8], SignalError> {
        ctx.remote.check(&message.identity_key)?;
        match self.position(message) {
            None => return Err(SignalError::NoSession),
            Some(None) => {
                let current = self.current.as_mut().ok_or(SignalError::NoSession)?;
                let dropped = current.decrypt(&message.message, &mut ctx)?;
                self.stored.forget_chain(current.id, dropped.as_ref());
            }
            Some(Some(index)) => {
                let dropped = Arc::make_mut(&mut self.archived[index]).decrypt(&message.message, &mut ctx)?;
                self.promote(index, dropped.as_ref());
            }
        }
        Ok(ctx.buffer.as_slice())
    }

    /// Sets up a new state from a PreKey message and decrypts it; the current state is archived.
    ///
    /// Returns the plaintext and the one-time prekey that is used up: the caller deletes it with the commit that stores
    /// this session, never before.
    pub fn accept<'b>(
        &mut self,
        local: &LocalParty,
        signed_prekey: &SignedPreKeyPair,
        one_time: Option<&PreKeyPair>,
        message: &PreKeySignalMessage,
        mut ctx: Context<'b>,
    ) -> Result<(&'b [u8], Option<PreKeyId>), SignalError> {
        ctx.remote.check(&message.identity_key)?;
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
        state.decrypt(&message.message, &mut ctx)?;
        self.begin(state);
        Ok((ctx.buffer.as_slice(), message.pre_key_id))
    }

    /// Archives the current state: it still decrypts, and nothing is encrypted before a new state is started.
    pub fn archive(&mut self) {
        if let Some(old) = self.current.take() {
            self.shelve(old);
        }
    }

    /// Where the state that the message belongs to is: `Some(None)` is the current one. A state with another identity is not it: its
    /// messages are that identity's, whatever the envelope says.
    fn position(&self, message: &PreKeySignalMessage) -> Option<Option<usize>> {
        let belongs =
            |state: &SessionState| state.base_key == message.base_key && state.remote_identity == message.identity_key;
        if self.current.as_ref().is_some_and(belongs) {
            return Some(None);
        }
        self.archived.iter().position(|state| belongs(state)).map(Some)
    }

    fn promote(&mut self, index: usize, dropped: Option<&ReceiverChain>) {
        if let Some(state) = self.archived.remove(index) {
            self.stored.forget_chain(state.id, dropped);
            self.stored.forget_archived(state.id);
            self.archive();
            self.current = Some(Arc::unwrap_or_clone(state));
        }
    }

    fn begin(&mut self, mut state: SessionState) {
        state.id = self.next_state;
        self.next_state = self.next_state.wrapping_add(1);
        self.archive();
        self.current = Some(state);
    }

    fn shelve(&mut self, state: SessionState) {
        self.archived.push_front(Arc::new(state));
        let skipped = |state: &Arc<SessionState>| state.skipped_keys();
        let mut kept: usize = self.archived.iter().map(skipped).sum();
        while self.archived.len() > 1 && (self.archived.len() > ARCHIVED_STATES_MAX_LENGTH || kept > MAX_ARCHIVED_KEYS)
        {
            kept -= self.archived.back().map_or(0, skipped);
            if let Some(oldest) = self.archived.pop_back() {
                self.stored.forget_archived(oldest.id);
                oldest.receivers.iter().for_each(|chain| self.stored.forget_chain(oldest.id, Some(chain)));
            }
        }
    }
}

/// Decrypts with one state. A state of an untrusted identity is tried on a copy: a message that it decrypts gives
/// [`SignalError::UntrustedIdentity`] and changes nothing.
fn decrypt_with(
    state: &mut SessionState,
    message: &SignalMessage,
    ctx: &mut Context,
) -> Result<Option<ReceiverChain>, SignalError> {
    let Err(untrusted) = ctx.remote.check(&state.remote_identity) else {
        return state.decrypt(message, ctx);
    };
    state.clone().decrypt(message, ctx)?;
    ctx.buffer.wipe();
    Err(untrusted)
}

/// Ranks the errors of several states: the highest is reported (`wire-protocol.md` 2.4).
fn precedence(error: &SignalError) -> u8 {
    match error {
        SignalError::UntrustedIdentity { .. } => 4,
        SignalError::Duplicate { .. } => 3,
        SignalError::InvalidKey { .. } => 2,
        SignalError::BadMac { .. } => 1,
        _ => 0,
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
