//! A simulated phone: a primary device that really encrypts and decrypts (`sandbox-service.md` 9).
//!
//! Here are its keys and sessions; what it makes of stanzas is in `reading`, `writing`, `repair` and `welcome`.

mod content;
mod reading;
mod repair;
mod welcome;
mod writing;

pub use content::{PhoneMedia, Writing};

use super::DeviceId;
use super::control::PhoneMessage;
use crate::base::address::{ProtocolAddress, SenderKeyName};
use crate::base::time::Timestamp;
use crate::signal::{
    Buffer, Context, IdentityKeyPair, JumpLimit, LocalParty, OurSenderKey, PreKeyBundle, PreKeyId, PreKeyPair,
    PreKeySignalMessage, RemoteParty, SenderKeyDistribution, SenderKeyMessage, Session, SignalError, SignalMessage,
    SignedPreKeyId, SignedPreKeyPair, TheirSenderKeys,
};
use crate::wire::Jid;
use crate::wire::proto::Message;
use rand::rngs::StdRng;
use rand::{CryptoRng, Rng};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

const PREKEYS: u32 = 100;
/// Messages that a phone can send again.
const SENT_KEPT: usize = 1000;

/// The phone's keys, sessions, and what it has read.
pub(super) struct Phone {
    pub(super) local: LocalParty,
    pub(super) signed: SignedPreKeyPair,
    pub(super) prekeys: BTreeMap<PreKeyId, PreKeyPair>,
    pub(super) offered: PreKeyId,
    pub(super) sessions: HashMap<ProtocolAddress, Session>,
    pub(super) sender_keys: HashMap<SenderKeyName, TheirSenderKeys>,
    pub(super) groups: HashMap<Jid, GroupKey>,
    buffer: Buffer,
    pub(super) messages: Vec<PhoneMessage>,
    sent: VecDeque<Sent>,
    /// How often a message was asked for again.
    asked: HashMap<(Jid, String), u32>,
    pub(super) app_state_key: [u8; 32],
}

/// The phone's own key for a group, and the devices that have it.
pub(super) struct GroupKey {
    pub(super) key: OurSenderKey,
    pub(super) holders: BTreeSet<DeviceId>,
}

/// A message that can be sent again.
struct Sent {
    id: String,
    chat: Jid,
    message: Message,
}

impl Phone {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        let identity = IdentityKeyPair::generate(rng);
        let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &identity, rng);
        let mut app_state_key = [0; 32];
        rng.fill_bytes(&mut app_state_key);
        let local = LocalParty { identity, registration_id: rng.next_u32() >> 1 };
        let mut phone = Self::with_keys(local, signed, app_state_key);
        phone.refill(rng);
        phone
    }

    /// A phone that has talked to nobody yet.
    pub(super) fn with_keys(local: LocalParty, signed: SignedPreKeyPair, app_state_key: [u8; 32]) -> Self {
        Self {
            local,
            signed,
            prekeys: BTreeMap::new(),
            offered: PreKeyId::FIRST,
            sessions: HashMap::new(),
            sender_keys: HashMap::new(),
            groups: HashMap::new(),
            buffer: Buffer::new(),
            messages: Vec::new(),
            sent: VecDeque::new(),
            asked: HashMap::new(),
            app_state_key,
        }
    }

    fn refill(&mut self, rng: &mut dyn CryptoRng) {
        let mut id = self.prekeys.keys().next_back().map_or(PreKeyId::FIRST, |last| last.next());
        for _ in 0..PREKEYS {
            self.prekeys.insert(id, PreKeyPair::generate(id, rng));
            id = id.next();
        }
    }

    pub(super) fn take_bundle(&mut self) -> PreKeyBundle {
        let one_time = self.prekeys.range(self.offered..).next().map(|(id, key)| (*id, *key.pair.public()));
        if let Some((id, _)) = one_time {
            self.offered = id.next();
        }
        PreKeyBundle {
            registration_id: self.local.registration_id,
            identity: self.local.identity.public(),
            signed_pre_key_id: self.signed.id,
            signed_pre_key: *self.signed.pair.public(),
            signature: self.signed.signature.to_vec(),
            one_time,
        }
    }

    fn decrypt(
        &mut self,
        from: &ProtocolAddress,
        kind: &str,
        bytes: &[u8],
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, SignalError> {
        let session = self.sessions.entry(from.clone()).or_default();
        let remote = stranger(from);
        let ctx = Context { remote: &remote, limit: JumpLimit::default(), now, rng, buffer: &mut self.buffer };
        if kind == "msg" {
            return session.decrypt(&SignalMessage::parse(bytes)?, ctx).map(<[u8]>::to_vec);
        }
        let message = PreKeySignalMessage::parse(bytes)?;
        if session.knows(&message) {
            return session.decrypt_known(&message, ctx).map(<[u8]>::to_vec);
        }
        let one_time = message.pre_key_id.and_then(|id| self.prekeys.get(&id));
        let (plaintext, used) = session.accept(&self.local, &self.signed, one_time, &message, ctx)?;
        if let Some(id) = used {
            self.prekeys.remove(&id);
        }
        Ok(plaintext.to_vec())
    }

    fn decrypt_group(&mut self, name: &SenderKeyName, bytes: &[u8]) -> Result<Vec<u8>, SignalError> {
        let message = SenderKeyMessage::parse(bytes)?;
        let keys = self.sender_keys.entry(name.clone()).or_default();
        keys.decrypt(&message, JumpLimit::default(), &mut self.buffer).map(<[u8]>::to_vec)
    }

    /// A member's key for a group has come.
    fn take_sender_key(&mut self, name: SenderKeyName, bytes: &[u8]) -> Result<(), SignalError> {
        let distribution = SenderKeyDistribution::parse(bytes)?;
        self.sender_keys.entry(name).or_default().process(&distribution);
        Ok(())
    }

    fn remember_sent(&mut self, id: &str, chat: &Jid, message: &Message) {
        self.sent.push_back(Sent { id: id.to_owned(), chat: chat.clone(), message: message.clone() });
        if self.sent.len() > SENT_KEPT {
            self.sent.pop_front();
        }
    }
}

/// A simulated phone takes everyone's word for who they are.
fn stranger(address: &ProtocolAddress) -> RemoteParty {
    RemoteParty { address: address.clone(), identity: None }
}
