//! One person's account: the phone, and the companions linked to it.

use crate::sandbox::world::directory::app_state::Collection;
use crate::sandbox::world::directory::settings::Settings;
use crate::sandbox::world::phone::Phone;
use crate::sandbox::world::{ConnectionId, DeviceId};
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

pub(in crate::sandbox::world) struct Account {
    pub(in crate::sandbox::world) pn: Jid,
    pub(in crate::sandbox::world) lid: Jid,
    pub(in crate::sandbox::world) name: String,
    pub(in crate::sandbox::world) phone: Phone,
    pub(in crate::sandbox::world) companions: BTreeMap<u16, Companion>,
    pub(in crate::sandbox::world) last_device: u16,
    /// Key indexes are never used twice, device numbers are.
    pub(in crate::sandbox::world) last_key_index: u32,
    /// Devices that have asked for this account's devices: they are told when those change.
    pub(in crate::sandbox::world) acquaintances: BTreeSet<DeviceId>,
    /// Devices that want to know whether the person is online, and by which name they asked.
    pub(in crate::sandbox::world) watchers: BTreeSet<(DeviceId, Jid)>,
    pub(in crate::sandbox::world) settings: Settings,
    pub(in crate::sandbox::world) app_state: BTreeMap<String, Collection>,
    /// Names this registration of the number in device lists.
    pub(in crate::sandbox::world) raw_id: u32,
    pub(in crate::sandbox::world) created: u64,
}

/// A linked device, as the service knows it.
pub(in crate::sandbox::world) struct Companion {
    pub(in crate::sandbox::world) noise: PublicKey,
    pub(in crate::sandbox::world) identity: IdentityKey,
    pub(in crate::sandbox::world) registration_id: u32,
    pub(in crate::sandbox::world) key_index: u32,
    /// ADVSignedDeviceIdentity with both signatures, as prekey answers carry it.
    pub(in crate::sandbox::world) device_identity: Vec<u8>,
    pub(in crate::sandbox::world) signed_prekey: Option<(SignedPreKeyId, PublicKey, Vec<u8>)>,
    pub(in crate::sandbox::world) prekeys: VecDeque<(PreKeyId, PublicKey)>,
    pub(in crate::sandbox::world) connection: Option<ConnectionId>,
    /// Whether what waited for the login was sent: before that nothing else is.
    pub(in crate::sandbox::world) caught_up: bool,
    /// What it has not acknowledged, in order.
    pub(in crate::sandbox::world) queue: VecDeque<Kept>,
    pub(in crate::sandbox::world) backlog: Option<Backlog>,
    /// While it has to ask for its backlog: the place in the queue up to which it was sent.
    pub(in crate::sandbox::world) pulled: Option<u64>,
    /// Whether it was told, since it logged in, that there is no more of it.
    pub(in crate::sandbox::world) told_end: bool,
    pub(in crate::sandbox::world) welcomed: bool,
    /// How it last logged in.
    pub(in crate::sandbox::world) handshake: Option<Handshake>,
    /// Whether it says that the person is there.
    pub(in crate::sandbox::world) available: bool,
    /// Whose presence it asked for since it logged in, by number.
    pub(in crate::sandbox::world) watching: BTreeSet<String>,
}

/// What a device was sent when it logged in.
pub(in crate::sandbox::world) struct Backlog {
    /// The places in the queue that are not acknowledged yet.
    pub(in crate::sandbox::world) left: BTreeSet<u64>,
    pub(in crate::sandbox::world) count: usize,
}

/// A stanza that a device has not acknowledged.
pub(in crate::sandbox::world) struct Kept {
    /// Its place among all that the service has kept.
    pub(in crate::sandbox::world) sequence: u64,
    pub(in crate::sandbox::world) node: Node,
}

impl Companion {
    /// One that nobody has linked: what a companion is when it is not connected.
    pub(in crate::sandbox::world) fn offline() -> Self {
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
    pub(in crate::sandbox::world) fn digest(&self) -> Option<Node> {
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
    pub(in crate::sandbox::world) fn take_bundle(&mut self, device: u16) -> Option<(PreKeyBundle, Option<Vec<u8>>)> {
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
    pub(in crate::sandbox::world) fn key_index_list(&self, now_secs: u64, rng: &mut StdRng) -> Vec<u8> {
        let valid: Vec<u32> = std::iter::once(0).chain(self.companions.values().map(|c| c.key_index)).collect();
        let current = self.last_key_index;
        sign_key_indexes(&self.phone.local.identity, (self.raw_id, now_secs), current, valid, rng)
    }

    /// The number and the key index of the next companion; `None` when there are as many as there can be.
    pub(in crate::sandbox::world) fn next_companion(&mut self) -> Option<(u16, u32)> {
        let behind = |number: &u16| (*number <= self.last_device, *number);
        let free = (1..=MAX_COMPANION).filter(|number| !self.companions.contains_key(number));
        let number = free.min_by_key(behind)?;
        self.last_device = number;
        self.last_key_index += 1;
        Some((number, self.last_key_index))
    }

    /// This account's JID in the namespace of `like`.
    pub(in crate::sandbox::world) fn named_like(&self, like: &Jid) -> &Jid {
        if like.server() == crate::wire::Server::Lid { &self.lid } else { &self.pn }
    }
}
