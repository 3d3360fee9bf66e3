//! A linked device, as the service knows it.

use crate::sandbox::world::ids::ConnectionId;
use crate::signal::keys::KEY_TYPE;
use crate::signal::prekey::bundle_digest;
use crate::signal::{IdentityKey, PreKeyBundle, PreKeyId, PublicKey, SignedPreKeyId};
use crate::wire::Node;
use crate::wire::noise::Handshake;
use crate::wire::prekeys::skey_node;
use std::collections::{BTreeSet, VecDeque};

pub(in crate::sandbox::world) struct Companion {
    pub(in crate::sandbox::world) keys: CompanionKeys,
    pub(in crate::sandbox::world) connection: Option<ConnectionId>,
    pub(in crate::sandbox::world) delivery: Delivery,
    /// Whether its phone has sent it keys and history.
    pub(in crate::sandbox::world) welcomed: bool,
    /// The Noise handshake of the last login.
    pub(in crate::sandbox::world) handshake: Option<Handshake>,
    /// Whether it reports its person as available.
    pub(in crate::sandbox::world) available: bool,
    /// Numbers whose presence it has subscribed to since its login.
    pub(in crate::sandbox::world) watching: BTreeSet<String>,
}

pub(in crate::sandbox::world) struct CompanionKeys {
    pub(in crate::sandbox::world) noise: PublicKey,
    pub(in crate::sandbox::world) identity: IdentityKey,
    pub(in crate::sandbox::world) registration_id: u32,
    pub(in crate::sandbox::world) key_index: u32,
    /// `ADVSignedDeviceIdentity` with both signatures, as prekey answers carry it.
    pub(in crate::sandbox::world) device_identity: Vec<u8>,
    pub(in crate::sandbox::world) signed_prekey: Option<(SignedPreKeyId, PublicKey, Vec<u8>)>,
    pub(in crate::sandbox::world) prekeys: VecDeque<(PreKeyId, PublicKey)>,
}

/// Stanzas on their way to a device.
#[derive(Default)]
pub(in crate::sandbox::world) struct Delivery {
    /// Unacknowledged stanzas, in order.
    pub(in crate::sandbox::world) queue: VecDeque<QueuedStanza>,
    pub(in crate::sandbox::world) backlog: Option<Backlog>,
    /// While the device pulls its backlog: the sequence number of the last stanza sent.
    pub(in crate::sandbox::world) pulled: Option<u64>,
    /// Whether the backlog has been sent: new stanzas wait for that.
    pub(in crate::sandbox::world) caught_up: bool,
    /// Whether the end of the backlog was announced since the login.
    pub(in crate::sandbox::world) end_announced: bool,
}

/// The stanzas that were queued at a login.
pub(in crate::sandbox::world) struct Backlog {
    /// Sequence numbers that are not acknowledged yet.
    pub(in crate::sandbox::world) left: BTreeSet<u64>,
    pub(in crate::sandbox::world) count: usize,
}

/// A stanza that its device has not acknowledged.
pub(in crate::sandbox::world) struct QueuedStanza {
    /// Its position among all queued stanzas of the service.
    pub(in crate::sandbox::world) sequence: u64,
    pub(in crate::sandbox::world) node: Node,
}

impl Companion {
    pub(in crate::sandbox::world) fn offline(keys: CompanionKeys) -> Self {
        Self {
            keys,
            connection: None,
            delivery: Delivery::default(),
            welcomed: false,
            handshake: None,
            available: false,
            watching: BTreeSet::new(),
        }
    }
}

impl CompanionKeys {
    /// Digest of the device's keys at the service (`sandbox-service.md` 4); `None` before its first upload.
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

    /// Takes the bundle for one new session, and one of the one-time prekeys while there are any.
    pub(in crate::sandbox::world) fn take_bundle(&mut self) -> Option<PreKeyBundle> {
        let (signed_pre_key_id, signed_pre_key, signature) = self.signed_prekey.clone()?;
        Some(PreKeyBundle {
            registration_id: self.registration_id,
            identity: self.identity,
            signed_pre_key_id,
            signed_pre_key,
            signature,
            one_time: self.prekeys.pop_front(),
        })
    }
}
