//! Keys, sessions and messages of a simulated phone: a primary device that encrypts and decrypts (`sandbox-service.md` 9).

use super::message::PhoneMessage;
use crate::base::address::{ProtocolAddress, SenderKeyName};
use crate::base::time::Timestamp;
use crate::sandbox::world::ids::DeviceId;
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
/// Messages that a phone can resend.
const SENT_KEPT: usize = 1000;

/// The phone's keys, sessions and messages.
pub(in crate::sandbox::world) struct Phone {
    pub(in crate::sandbox::world) local: LocalParty,
    pub(in crate::sandbox::world) signed: SignedPreKeyPair,
    pub(in crate::sandbox::world) prekeys: BTreeMap<PreKeyId, PreKeyPair>,
    pub(in crate::sandbox::world) offered: PreKeyId,
    pub(in crate::sandbox::world) sessions: HashMap<ProtocolAddress, Session>,
    pub(in crate::sandbox::world) sender_keys: HashMap<SenderKeyName, TheirSenderKeys>,
    pub(in crate::sandbox::world) groups: HashMap<Jid, GroupKey>,
    pub(super) buffer: Buffer,
    pub(in crate::sandbox::world) messages: Vec<PhoneMessage>,
    pub(super) sent: VecDeque<Sent>,
    /// Retry receipts sent, by author and message.
    pub(super) retries: HashMap<(Jid, String), u32>,
    pub(in crate::sandbox::world) app_state_key: [u8; 32],
}

/// The phone's sender key for a group, and the devices that have it.
pub(in crate::sandbox::world) struct GroupKey {
    pub(in crate::sandbox::world) key: OurSenderKey,
    pub(in crate::sandbox::world) holders: BTreeSet<DeviceId>,
}

/// A message that can be resent.
pub(super) struct Sent {
    pub(super) id: String,
    pub(super) chat: Jid,
    pub(super) message: Message,
}

impl Phone {
    pub(in crate::sandbox::world) fn new(rng: &mut StdRng) -> Self {
        let identity = IdentityKeyPair::generate(rng);
        let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &identity, rng);
        let mut app_state_key = [0; 32];
        rng.fill_bytes(&mut app_state_key);
        let local = LocalParty { identity, registration_id: rng.next_u32() >> 1 };
        let mut phone = Self::with_keys(local, signed, app_state_key);
        phone.refill(rng);
        phone
    }

    /// A phone without sessions.
    pub(in crate::sandbox::world) fn with_keys(
        local: LocalParty,
        signed: SignedPreKeyPair,
        app_state_key: [u8; 32],
    ) -> Self {
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
            retries: HashMap::new(),
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

    pub(in crate::sandbox::world) fn take_bundle(&mut self) -> PreKeyBundle {
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

    pub(super) fn decrypt(
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

    pub(super) fn decrypt_group(&mut self, name: &SenderKeyName, bytes: &[u8]) -> Result<Vec<u8>, SignalError> {
        let message = SenderKeyMessage::parse(bytes)?;
        let keys = self.sender_keys.entry(name.clone()).or_default();
        keys.decrypt(&message, JumpLimit::default(), &mut self.buffer).map(<[u8]>::to_vec)
    }

    /// Processes a member's sender key distribution.
    pub(super) fn process_sender_key(&mut self, name: SenderKeyName, bytes: &[u8]) -> Result<(), SignalError> {
        let distribution = SenderKeyDistribution::parse(bytes)?;
        self.sender_keys.entry(name).or_default().process(&distribution);
        Ok(())
    }

    pub(super) fn remember_sent(&mut self, id: &str, chat: &Jid, message: &Message) {
        self.sent.push_back(Sent { id: id.to_owned(), chat: chat.clone(), message: message.clone() });
        if self.sent.len() > SENT_KEPT {
            self.sent.pop_front();
        }
    }
}

/// A simulated phone trusts every identity.
pub(super) fn stranger(address: &ProtocolAddress) -> RemoteParty {
    RemoteParty { address: address.clone(), identity: None }
}
