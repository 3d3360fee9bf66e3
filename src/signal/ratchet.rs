//! One state of the Double Ratchet: a sending chain, up to five receiving chains, the root between them
//! (Double Ratchet section 3; the numbers of `signal-protocol.txt`).
//!
//! Invariant: [`SessionState::decrypt`] changes nothing unless the message's code was right.

use super::SignalError;
use super::chain_key::ChainKey;
use super::keys::{IdentityKey, KeyPair, PreparedPublicKey, PublicKey};
use super::limits::MAX_RECEIVER_CHAINS;
use super::message::{Ciphertext, PreKeySignalMessage, SignalMessage};
use super::message_key::MessageKey;
use super::prekey::{PreKeyId, SignedPreKeyId};
use super::root_key::RootKey;
use super::window::{JumpLimit, KeyWindow};
use super::x3dh::Agreement;
use rand::CryptoRng;
use std::collections::VecDeque;

#[derive(Clone, Debug)]
pub(super) struct SenderChain {
    pub(super) ratchet: KeyPair,
    pub(super) chain: ChainKey,
}

#[derive(Clone, Debug)]
pub(super) struct ReceiverChain {
    pub(super) ratchet_key: PublicKey,
    pub(super) window: KeyWindow,
}

/// What a PreKey message repeats until the peer has answered.
#[derive(Clone, Debug)]
pub(super) struct PendingPreKey {
    pub(super) pre_key_id: Option<PreKeyId>,
    pub(super) signed_pre_key_id: SignedPreKeyId,
    pub(super) base_key: PublicKey,
}

#[derive(Clone, Debug)]
pub(super) struct SessionState {
    pub(super) local_identity: IdentityKey,
    pub(super) remote_identity: IdentityKey,
    pub(super) local_registration_id: u32,
    pub(super) remote_registration_id: u32,
    pub(super) root: RootKey,
    pub(super) previous_counter: u32,
    pub(super) sender: SenderChain,
    /// Oldest first.
    pub(super) receivers: VecDeque<ReceiverChain>,
    pub(super) pending: Option<PendingPreKey>,
    /// The initiator's base key: names the session on both sides.
    pub(super) base_key: PublicKey,
}

/// Who the two ends of a new state are.
pub(super) struct Parties {
    pub(super) local: IdentityKey,
    pub(super) remote: IdentityKey,
    pub(super) local_registration_id: u32,
    pub(super) remote_registration_id: u32,
}

impl SessionState {
    /// The initiator's first state: receives on the signed prekey's chain, sends on a fresh ratchet key.
    pub(super) fn initiator(
        parties: &Parties,
        agreement: Agreement,
        (their_signed_prekey, prepared): (PublicKey, &PreparedPublicKey),
        ratchet: KeyPair,
        pending: PendingPreKey,
    ) -> Result<Self, SignalError> {
        let (root, chain) = agreement.root.turn(&ratchet, prepared)?;
        let base_key = pending.base_key;
        let receiver = ReceiverChain::new(their_signed_prekey, agreement.chain);
        Ok(Self::new(parties, root, SenderChain { ratchet, chain }, [receiver].into(), Some(pending), base_key))
    }

    /// The responder's first state: the signed prekey is its ratchet key until the first message turns it.
    pub(super) fn responder(parties: &Parties, agreement: Agreement, signed_prekey: KeyPair, base: PublicKey) -> Self {
        let sender = SenderChain { ratchet: signed_prekey, chain: agreement.chain };
        Self::new(parties, agreement.root, sender, VecDeque::new(), None, base)
    }

    fn new(
        parties: &Parties,
        root: RootKey,
        sender: SenderChain,
        receivers: VecDeque<ReceiverChain>,
        pending: Option<PendingPreKey>,
        base_key: PublicKey,
    ) -> Self {
        Self {
            local_identity: parties.local,
            remote_identity: parties.remote,
            local_registration_id: parties.local_registration_id,
            remote_registration_id: parties.remote_registration_id,
            root,
            previous_counter: 0,
            sender,
            receivers,
            pending,
            base_key,
        }
    }

    pub(super) fn encrypt(&mut self, plaintext: &[u8]) -> Result<Ciphertext, SignalError> {
        let counter = self.sender.chain.index();
        let (seed, next) = self.sender.chain.step()?;
        let parties = parties_of(&self.local_identity, &self.remote_identity);
        let ratchet_key = *self.sender.ratchet.public();
        let previous = self.previous_counter;
        let message = MessageKey::expand(&seed)
            .seal(plaintext, &parties, |text| SignalMessage::frame(&ratchet_key, counter, previous, text));
        self.sender.chain = next;
        Ok(match &self.pending {
            None => Ciphertext::Signal(message),
            Some(pending) => Ciphertext::PreKey(PreKeySignalMessage::encode(
                self.local_registration_id,
                pending.pre_key_id,
                pending.signed_pre_key_id,
                &pending.base_key,
                &self.local_identity,
                message,
            )),
        })
    }

    pub(super) fn decrypt(
        &mut self,
        message: &SignalMessage,
        limit: JumpLimit,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, SignalError> {
        let parties = parties_of(&self.remote_identity, &self.local_identity);
        let known = self.receivers.iter_mut().find(|chain| chain.ratchet_key == message.ratchet_key);
        let plaintext = match known {
            Some(chain) => chain.open(message, &parties, limit)?,
            None => self.turn(message, &parties, limit, rng)?,
        };
        self.pending = None;
        Ok(plaintext)
    }

    /// The Diffie-Hellman ratchet step: the peer has answered with a new ratchet key.
    fn turn(
        &mut self,
        message: &SignalMessage,
        parties: &[u8; 66],
        limit: JumpLimit,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, SignalError> {
        let theirs = PreparedPublicKey::new(&message.ratchet_key);
        let (root, chain) = self.root.turn(&self.sender.ratchet, &theirs)?;
        let mut receiver = ReceiverChain::new(message.ratchet_key, chain);
        let plaintext = receiver.open(message, parties, limit)?;

        let ratchet = KeyPair::generate(rng);
        let (root, chain) = root.turn(&ratchet, &theirs)?;
        self.previous_counter = self.sender.chain.index().saturating_sub(1);
        self.root = root;
        self.sender = SenderChain { ratchet, chain };
        self.receivers.push_back(receiver);
        if self.receivers.len() > MAX_RECEIVER_CHAINS {
            self.receivers.pop_front();
        }
        Ok(plaintext)
    }
}

impl ReceiverChain {
    fn new(ratchet_key: PublicKey, chain: ChainKey) -> Self {
        Self { ratchet_key, window: KeyWindow::new(chain) }
    }

    fn open(&mut self, message: &SignalMessage, parties: &[u8; 66], limit: JumpLimit) -> Result<Vec<u8>, SignalError> {
        self.window.open(message.counter, limit, |seed| {
            MessageKey::expand(seed).open(parties, &message.framed, &message.mac, &message.ciphertext)
        })
    }
}

/// The first 66 bytes that a code authenticates: the sender's, then the receiver's identity.
fn parties_of(sender: &IdentityKey, receiver: &IdentityKey) -> [u8; 66] {
    let mut out = [0; 66];
    out[..33].copy_from_slice(&sender.0.typed());
    out[33..].copy_from_slice(&receiver.0.typed());
    out
}
