//! One person's account: the phone and its linked companions.

use super::collection::Collection;
use super::companion::Companion;
use super::settings::Settings;
use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::phone::device::Phone;
use crate::signal::PreKeyBundle;
use crate::wire::adv::sign_key_indexes;
use crate::wire::{Jid, Server};
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};

/// Device 99 denotes a hosted device.
const MAX_COMPANION: u16 = 98;

pub(in crate::sandbox::world) struct Account {
    pub(in crate::sandbox::world) pn: Jid,
    pub(in crate::sandbox::world) lid: Jid,
    pub(in crate::sandbox::world) name: String,
    pub(in crate::sandbox::world) phone: Phone,
    pub(in crate::sandbox::world) companions: BTreeMap<u16, Companion>,
    pub(in crate::sandbox::world) last_device: u16,
    /// Device numbers are reused, key indexes are not.
    pub(in crate::sandbox::world) last_key_index: u32,
    /// Devices that have queried this account's device list: they are notified of its changes.
    pub(in crate::sandbox::world) acquaintances: BTreeSet<DeviceId>,
    /// Devices that have subscribed to the person's presence, and the JID that they subscribed to.
    pub(in crate::sandbox::world) watchers: BTreeSet<(DeviceId, Jid)>,
    pub(in crate::sandbox::world) settings: Settings,
    pub(in crate::sandbox::world) app_state: BTreeMap<String, Collection>,
    /// Identifies this registration of the number in device lists.
    pub(in crate::sandbox::world) raw_id: u32,
    pub(in crate::sandbox::world) created: u64,
}

impl Account {
    pub(in crate::sandbox::world) fn new(
        number: &str,
        lid: String,
        name: String,
        phone: Phone,
        raw_id: u32,
        created: u64,
    ) -> Self {
        Self {
            pn: Jid::pn(number),
            lid: Jid::new(lid, Server::Lid),
            name,
            phone,
            companions: BTreeMap::new(),
            last_device: 0,
            last_key_index: 0,
            acquaintances: BTreeSet::new(),
            watchers: BTreeSet::new(),
            settings: Settings::default(),
            app_state: BTreeMap::new(),
            raw_id,
            created,
        }
    }

    /// Takes a device's bundle for one new session; with the signed identity of a companion.
    pub(in crate::sandbox::world) fn take_bundle(&mut self, device: u16) -> Option<(PreKeyBundle, Option<Vec<u8>>)> {
        if device == 0 {
            return Some((self.phone.take_bundle(), None));
        }
        let keys = &mut self.companions.get_mut(&device)?.keys;
        Some((keys.take_bundle()?, Some(keys.device_identity.clone())))
    }

    /// The signed list of key indexes that device lists carry.
    pub(in crate::sandbox::world) fn key_index_list(&self, now_secs: u64, rng: &mut StdRng) -> Vec<u8> {
        let valid: Vec<u32> = std::iter::once(0).chain(self.companions.values().map(|c| c.keys.key_index)).collect();
        let current = self.last_key_index;
        sign_key_indexes(&self.phone.local.identity, (self.raw_id, now_secs), current, valid, rng)
    }

    /// The number and the key index of the next companion; `None` when every number is in use.
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
        if like.server() == Server::Lid { &self.lid } else { &self.pn }
    }
}
