//! One state of the Double Ratchet: a sending chain, up to five receiving chains, the root between them
//! (Double Ratchet section 3; the numbers of `signal-protocol.txt`).
//!
//! Invariant: [`SessionState::decrypt`] changes nothing unless the message's code was right.

use super::SignalError;
use super::chain_key::ChainKey;
use super::keys::{IdentityKey, KeyPair, PreparedPublicKey, PublicKey, SecretKey};
use super::limits::{MAX_RECEIVER_CHAINS, UNANSWERED_SESSION_DAYS};
use super::message::{Ciphertext, Envelope, Frame, SignalMessage, ciphertext_len};
use super::message_key::MessageKey;
use super::prekey::{PreKeyId, SignedPreKeyId};
use super::root_key::RootKey;
use super::session::Context;
use super::window::KeyWindow;
use super::x3dh::Agreement;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use std::collections::VecDeque;

/// Our end of the ratchet.
#[derive(Clone, Debug)]
pub(super) enum Sender {
    Ready {
        ratchet: KeyPair,
        chain: ChainKey,
    },
    /// The peer has made a ratchet step and our next ratchet key is drawn; the rest of our step is deferred until we send, so
    /// that a party that only receives does not pay for it ("Deferring new ratchet key generation", Double Ratchet section 7.5).
    Due {
        ratchet: SecretKey,
        theirs: PreparedPublicKey,
    },
    /// The sending chain was dropped: nothing is sent before the peer's next ratchet step.
    Spent {
        ratchet: KeyPair,
    },
}

/// Completes a deferred ratchet step: our key pair, its sending chain, and the next root key.
fn settle(
    ratchet: &SecretKey,
    theirs: &PreparedPublicKey,
    root: &RootKey,
) -> Result<(KeyPair, ChainKey, RootKey), SignalError> {
    let (pair, shared) = ratchet.clone().publish_and_agree(theirs)?;
    let (root, chain) = root.turn(&shared);
    Ok((pair, chain, root))
}

#[derive(Clone, Debug)]
pub(super) struct ReceiverChain {
    pub(super) ratchet_key: PublicKey,
    /// Names the chain within its state, in the keys of its stored blocks.
    pub(super) ordinal: u32,
    pub(super) window: KeyWindow,
}

/// The fields of PreKey messages, repeated until the peer has answered.
#[derive(Clone, Debug)]
pub(super) struct PendingPreKey {
    pub(super) pre_key_id: Option<PreKeyId>,
    pub(super) signed_pre_key_id: SignedPreKeyId,
    pub(super) base_key: PublicKey,
    pub(super) since: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct SessionState {
    /// Names the state within its session, in the keys of its stored parts.
    pub(super) id: u32,
    pub(super) next_chain: u32,
    pub(super) local_identity: IdentityKey,
    pub(super) remote_identity: IdentityKey,
    pub(super) local_registration_id: u32,
    pub(super) remote_registration_id: u32,
    pub(super) root: RootKey,
    pub(super) previous_counter: u32,
    pub(super) sender: Sender,
    /// Oldest first.
    pub(super) receivers: VecDeque<ReceiverChain>,
    pub(super) pending: Option<PendingPreKey>,
    /// The initiator's base key: names the session on both sides.
    pub(super) base_key: PublicKey,
}

/// The identities and registration ids of the two ends of a new state.
pub(super) struct Parties {
    pub(super) local: IdentityKey,
    pub(super) remote: IdentityKey,
    pub(super) local_registration_id: u32,
    pub(super) remote_registration_id: u32,
}

impl SessionState {
    /// The initiator's first state: receives on the signed prekey's chain, sends on a fresh ratchet key, whose agreement with
    /// the signed prekey is `turn`.
    pub(super) fn initiator(
        parties: &Parties,
        agreement: Agreement,
        their_signed_prekey: PublicKey,
        (ratchet, turn): (KeyPair, &Secret<32>),
        pending: PendingPreKey,
    ) -> Self {
        let (root, chain) = agreement.root.turn(turn);
        let base_key = pending.base_key;
        let mut state = Self::new(parties, root, Sender::Ready { ratchet, chain }, base_key);
        state.pending = Some(pending);
        state.add_receiver(their_signed_prekey, KeyWindow::new(agreement.chain));
        state
    }

    /// The responder's first state: the signed prekey is its ratchet key until the first message turns it.
    pub(super) fn responder(parties: &Parties, agreement: Agreement, signed_prekey: KeyPair, base: PublicKey) -> Self {
        let sender = Sender::Ready { ratchet: signed_prekey, chain: agreement.chain };
        Self::new(parties, agreement.root, sender, base)
    }

    fn new(parties: &Parties, root: RootKey, sender: Sender, base_key: PublicKey) -> Self {
        Self {
            id: 0,
            next_chain: 0,
            local_identity: parties.local,
            remote_identity: parties.remote,
            local_registration_id: parties.local_registration_id,
            remote_registration_id: parties.remote_registration_id,
            root,
            previous_counter: 0,
            sender,
            receivers: VecDeque::new(),
            pending: None,
            base_key,
        }
    }

    /// Adds the newest chain; a sixth pushes out the oldest, which is returned.
    fn add_receiver(&mut self, ratchet_key: PublicKey, window: KeyWindow) -> Option<ReceiverChain> {
        let ordinal = self.next_chain;
        self.next_chain = ordinal.wrapping_add(1);
        self.receivers.push_back(ReceiverChain { ratchet_key, ordinal, window });
        if self.receivers.len() > MAX_RECEIVER_CHAINS { self.receivers.pop_front() } else { None }
    }

    /// The error of a state that is old and was never answered: the peer may have lost the prekeys that it was started with.
    pub(super) fn staleness(&self, now: Timestamp) -> Option<SignalError> {
        let age_days = now.0.saturating_sub(self.pending.as_ref()?.since.0) / (24 * 60 * 60 * 1000);
        (age_days >= UNANSWERED_SESSION_DAYS).then_some(SignalError::StaleSession { age_days })
    }

    /// Drops the sending chain: another copy of this state may have used its message keys already.
    pub(super) fn make_receive_only(&mut self) -> Result<(), SignalError> {
        let ratchet = match &self.sender {
            Sender::Ready { ratchet, .. } | Sender::Spent { ratchet } => ratchet.clone(),
            Sender::Due { ratchet, theirs } => {
                let (ratchet, _, root) = settle(ratchet, theirs, &self.root)?;
                self.root = root;
                ratchet
            }
        };
        self.sender = Sender::Spent { ratchet };
        Ok(())
    }

    /// Whether a receiver chain has the message's ratchet key.
    pub(super) fn holds(&self, message: &SignalMessage) -> bool {
        self.receivers.iter().any(|chain| chain.ratchet_key == message.ratchet_key)
    }

    /// The number of skipped message keys in it.
    pub(super) fn skipped_keys(&self) -> usize {
        self.receivers.iter().map(|chain| chain.window.skipped_keys()).sum()
    }

    /// Whether the peer can make a ratchet step: it has our ratchet key. In a state with a deferred step it does not.
    pub(super) fn awaits_a_step(&self) -> bool {
        !matches!(self.sender, Sender::Due { .. })
    }

    pub(super) fn can_send(&self) -> bool {
        !matches!(self.sender, Sender::Spent { .. })
    }

    /// Encrypts into the buffer.
    pub(super) fn encrypt<'b>(&mut self, plaintext: &[u8], ctx: Context<'b>) -> Result<Ciphertext<'b>, SignalError> {
        ctx.remote.check(&self.remote_identity)?;
        if let Some(stale) = self.staleness(ctx.now) {
            return Err(stale);
        }
        ciphertext_len(plaintext.len())?;
        if let Sender::Due { ratchet, theirs } = &self.sender {
            let (ratchet, chain, root) = settle(ratchet, theirs, &self.root)?;
            self.sender = Sender::Ready { ratchet, chain };
            self.root = root;
        }
        let Sender::Ready { ratchet, chain } = &mut self.sender else {
            return Err(SignalError::NoSession);
        };
        let frame =
            Frame { ratchet_key: *ratchet.public(), counter: chain.index(), previous_counter: self.previous_counter };
        let length = frame.message_len(plaintext.len())?;
        let (seed, next) = chain.step()?;
        let key = MessageKey::expand(&seed);
        let parties = parties_of(&self.local_identity, &self.remote_identity);
        let sealed = match &self.pending {
            None => {
                let out = ctx.buffer.begin(length as usize);
                frame.seal(key, plaintext, &parties, out)?;
                Ciphertext::Signal(out)
            }
            Some(pending) => {
                let out = ctx.buffer.begin(length as usize + Envelope::MAX_LEN);
                let envelope = Envelope {
                    registration_id: self.local_registration_id,
                    pre_key_id: pending.pre_key_id,
                    signed_pre_key_id: pending.signed_pre_key_id,
                    base_key: pending.base_key,
                    identity_key: self.local_identity,
                };
                envelope.wrap(out, length, |out| frame.seal(key, plaintext, &parties, out))?;
                Ciphertext::PreKey(out)
            }
        };
        *chain = next;
        Ok(sealed)
    }

    /// Decrypts into the buffer. Returns the receiver chain that was evicted.
    pub(super) fn decrypt(
        &mut self,
        message: &SignalMessage,
        ctx: &mut Context,
    ) -> Result<Option<ReceiverChain>, SignalError> {
        let parties = parties_of(&self.remote_identity, &self.local_identity);
        let known = self.receivers.iter_mut().find(|chain| chain.ratchet_key == message.ratchet_key);
        let dropped = match known {
            Some(chain) => {
                open(&mut chain.window, message, &parties, ctx)?;
                None
            }
            None => self.turn(message, &parties, ctx)?,
        };
        self.pending = None;
        Ok(dropped)
    }

    /// The Diffie-Hellman ratchet step: the peer has answered with a new ratchet key.
    fn turn(
        &mut self,
        message: &SignalMessage,
        parties: &[u8; 66],
        ctx: &mut Context,
    ) -> Result<Option<ReceiverChain>, SignalError> {
        ctx.limit.check(message.counter, 0)?;
        let theirs = PreparedPublicKey::new(&message.ratchet_key);
        let (root, chain, sent) = match &self.sender {
            Sender::Ready { ratchet, chain } => {
                let (root, received) = self.root.turn(&ratchet.secret().agree_prepared(&theirs)?);
                (root, received, chain.index())
            }
            Sender::Spent { ratchet } => {
                let (root, received) = self.root.turn(&ratchet.secret().agree_prepared(&theirs)?);
                (root, received, 0)
            }
            Sender::Due { ratchet, theirs: before } => {
                let (ratchet, _, root) = settle(ratchet, before, &self.root)?;
                let (root, received) = root.turn(&ratchet.secret().agree_prepared(&theirs)?);
                (root, received, 0)
            }
        };
        let mut window = KeyWindow::new(chain);
        open(&mut window, message, parties, ctx)?;

        self.previous_counter = sent.saturating_sub(1);
        self.root = root;
        self.sender = Sender::Due { ratchet: SecretKey::generate(ctx.rng), theirs };
        Ok(self.add_receiver(message.ratchet_key, window))
    }
}

fn open(
    window: &mut KeyWindow,
    message: &SignalMessage,
    parties: &[u8; 66],
    ctx: &mut Context,
) -> Result<(), SignalError> {
    let limit = ctx.limit;
    let out = ctx.buffer.begin(message.ciphertext_len());
    window.open(message.counter, limit, |seed| message.open(MessageKey::expand(seed), parties, out))
}

/// The first 66 bytes that a code authenticates: the sender's, then the receiver's identity.
fn parties_of(sender: &IdentityKey, receiver: &IdentityKey) -> [u8; 66] {
    let mut out = [0; 66];
    out[..33].copy_from_slice(&sender.0.typed());
    out[33..].copy_from_slice(&receiver.0.typed());
    out
}
