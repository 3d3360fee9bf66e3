//! One person's account: the phone, and the companions linked to it.

use super::app_state::Collection;
use super::phone::Phone;
use super::settings::Settings;
use super::{ConnectionId, DeviceId};
use crate::signal::keys::KEY_TYPE;
use crate::signal::prekey::bundle_digest;
use crate::signal::{IdentityKey, PreKeyBundle, PreKeyId, PublicKey, SignedPreKeyId};
use crate::wire::adv::sign_key_indexes;
use crate::wire::noise::Handshake;
use crate::wire::prekeys::skey_node;
use crate::wire::{Jid, Node};
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Device 99 would be one that is hosted.
const MAX_COMPANION: u16 = 98;

pub(super) struct Account {
    pub(super) pn: Jid,
    pub(super) lid: Jid,
    pub(super) name: String,
    pub(super) phone: Phone,
    pub(super) companions: BTreeMap<u16, Companion>,
    pub(super) last_device: u16,
    /// Key indexes are never used twice, device numbers are.
    pub(super) last_key_index: u32,
    /// Devices that have asked for this account's devices: they are told when those change.
    pub(super) acquaintances: BTreeSet<DeviceId>,
    /// Devices that want to know whether the person is online, and by which name they asked.
    pub(super) watchers: BTreeSet<(DeviceId, Jid)>,
    pub(super) settings: Settings,
    pub(super) app_state: BTreeMap<String, Collection>,
    /// Names this registration of the number in device lists.
    pub(super) raw_id: u32,
    pub(super) created: u64,
}

/// A linked device, as the service knows it.
pub(super) struct Companion {
    pub(super) noise: PublicKey,
    pub(super) identity: IdentityKey,
    pub(super) registration_id: u32,
    pub(super) key_index: u32,
    /// ADVSignedDeviceIdentity with both signatures, as prekey answers carry it.
    pub(super) device_identity: Vec<u8>,
    pub(super) signed_prekey: Option<(SignedPreKeyId, PublicKey, Vec<u8>)>,
    pub(super) prekeys: VecDeque<(PreKeyId, PublicKey)>,
    pub(super) connection: Option<ConnectionId>,
    /// Whether what waited for the login was sent: before that nothing else is.
    pub(super) caught_up: bool,
    /// What it has not acknowledged, in order.
    pub(super) queue: VecDeque<Kept>,
    pub(super) backlog: Option<Backlog>,
    /// While it has to ask for its backlog: the place in the queue up to which it was sent.
    pub(super) pulled: Option<u64>,
    /// Whether it was told, since it logged in, that there is no more of it.
    pub(super) told_end: bool,
    pub(super) welcomed: bool,
    /// How it last logged in.
    pub(super) handshake: Option<Handshake>,
    /// Whether it says that the person is there.
    pub(super) available: bool,
    /// Whose presence it asked for since it logged in, by number.
    pub(super) watching: BTreeSet<String>,
}

/// What a device was sent when it logged in.
pub(super) struct Backlog {
    /// The places in the queue that are not acknowledged yet.
    pub(super) left: BTreeSet<u64>,
    pub(super) count: usize,
}

/// A stanza that a device has not acknowledged.
pub(super) struct Kept {
    /// Its place among all that the service has kept.
    pub(super) sequence: u64,
    pub(super) node: Node,
}

impl Companion {
    /// One that nobody has linked: what a companion is when it is not connected.
    pub(super) fn offline() -> Self {
        let nobody = PublicKey::from_bytes([0; 32]);
        Self {
            noise: nobody,
            identity: IdentityKey(nobody),
            registration_id: 0,
            key_index: 0,
            device_identity: Vec::new(),
            signed_prekey: None,
            prekeys: VecDeque::new(),
            connection: None,
            caught_up: false,
            queue: VecDeque::new(),
            backlog: None,
            pulled: None,
            told_end: false,
            welcomed: false,
            handshake: None,
            available: false,
            watching: BTreeSet::new(),
        }
    }

    /// What the service holds of the device's keys (`sandbox-service.md` 4); `None` before its first upload.
    pub(super) fn digest(&self) -> Option<Node> {
        let (id, key, signature) = self.signed_prekey.as_ref()?;
        let hash = bundle_digest(&self.identity, key, signature, self.prekeys.iter().map(|(_, key)| key));
        let ids = self.prekeys.iter().map(|(id, _)| Node::new("id").bytes(id.to_wire()));
        Some(Node::new("digest").children([
            Node::new("registration").bytes(self.registration_id.to_be_bytes()),
            Node::new("type").bytes([KEY_TYPE]),
            Node::new("identity").bytes(*self.identity.0.as_bytes()),
            skey_node(*id, key, signature),
            Node::new("list").children(ids),
            Node::new("hash").bytes(hash.to_vec()),
        ]))
    }
}

impl Account {
    /// A device's bundle for one new session: takes one of its one-time prekeys, while there are any.
    pub(super) fn take_bundle(&mut self, device: u16) -> Option<(PreKeyBundle, Option<Vec<u8>>)> {
        if device == 0 {
            return Some((self.phone.take_bundle(), None));
        }
        let companion = self.companions.get_mut(&device)?;
        let (signed_pre_key_id, signed_pre_key, signature) = companion.signed_prekey.clone()?;
        let bundle = PreKeyBundle {
            registration_id: companion.registration_id,
            identity: companion.identity,
            signed_pre_key_id,
            signed_pre_key,
            signature,
            one_time: companion.prekeys.pop_front(),
        };
        Some((bundle, Some(companion.device_identity.clone())))
    }

    /// The signed list of key indexes that device lists carry.
    pub(super) fn key_index_list(&self, now_secs: u64, rng: &mut StdRng) -> Vec<u8> {
        let valid: Vec<u32> = std::iter::once(0).chain(self.companions.values().map(|c| c.key_index)).collect();
        let current = self.last_key_index;
        sign_key_indexes(&self.phone.local.identity, (self.raw_id, now_secs), current, valid, rng)
    }

    /// The number and the key index of the next companion; `None` when there are as many as there can be.
    pub(super) fn next_companion(&mut self) -> Option<(u16, u32)> {
        let behind = |number: &u16| (*number <= self.last_device, *number);
        let free = (1..=MAX_COMPANION).filter(|number| !self.companions.contains_key(number));
        let number = free.min_by_key(behind)?;
        self.last_device = number;
        self.last_key_index += 1;
        Some((number, self.last_key_index))
    }

    /// This account's JID in the namespace of `like`.
    pub(super) fn named_like(&self, like: &Jid) -> &Jid {
        if like.server() == crate::wire::Server::Lid { &self.lid } else { &self.pn }
    }
}
