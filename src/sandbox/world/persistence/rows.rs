//! Rows out of the network, and a network out of rows.
//!
//! Invariant: when the rows of [`World::take_changes`] are stored before the outputs of the same step are sent, no client knows
//! of anything that a restart loses.

use super::accounts::{read_account, read_companion, write_account, write_companion};
use super::fields::{device_id, read_device, read_jid, write_device};
use super::phones::{read_message, read_parts, read_phone, write_message, write_parts, write_phone};
use super::proto;
use super::service::{read_keys, write_keys};
use crate::base::time::Timestamp;
use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::groups::group::Group;
use crate::sandbox::world::net::identity::ServiceKeys;
use crate::sandbox::world::phone::device::{GroupKey, Phone};
use crate::sandbox::world::registry::account::Account;
use crate::sandbox::world::row::{Change, Row, kind};
use crate::sandbox::world::state::World;
use crate::signal::{OurSenderKey, Session, TheirSenderKeys};
use crate::wire::{decode_frame, encode_frame};
use prost::Message as _;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;

impl World {
    /// Restores a network from its rows, or creates one when there are none. From then on it collects its changes.
    pub fn restore(rows: BTreeMap<String, Vec<u8>>, seed: u64, now: Timestamp) -> Result<Self, WorldError> {
        let mut rng = StdRng::seed_from_u64(seed);
        let keys = match rows.get(kind::SERVICE) {
            Some(row) => read_keys(row)?,
            None if rows.is_empty() => ServiceKeys::generate(&mut rng),
            None => return Err(WorldError::Unreadable("the service's keys")),
        };
        let mut world = Self::with_keys(rng, keys, now);
        for (key, value) in &rows {
            let fields: Vec<&str> = key.split('/').collect();
            world.read_row(&fields, value)?;
        }
        world.journal.enable();
        if rows.is_empty() {
            world.touch(|| Row::Service);
        }
        Ok(world)
    }

    /// The changes since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let changed = self.journal.take();
        changed.iter().map(|row| Change { key: row.key(), value: self.render(row) }).collect()
    }

    fn render(&self, row: &Row) -> Option<Vec<u8>> {
        let account = |number: &String| self.registry.account(number);
        let phone = |number: &String| account(number).map(|account| &account.phone);
        match row {
            Row::Service => Some(write_keys(self.identity.keys())),
            Row::Account(number) => Some(write_account(account(number)?)),
            Row::Phone(number) => Some(write_phone(phone(number)?)),
            Row::Session(number, device) => {
                Some(write_parts(phone(number)?.sessions.get(&device.protocol_address())?.to_parts()))
            }
            Row::SenderKeys(number, author, group) => {
                Some(write_parts(phone(number)?.sender_keys.get(&author.sender_key_name(group))?.to_parts()))
            }
            Row::GroupKey(number, group) => {
                let key = phone(number)?.groups.get(group)?;
                let holders = key.holders.iter().map(write_device).collect();
                Some(proto::GroupKey { key: Some(key.key.encode().to_vec()), holders }.encode_to_vec())
            }
            Row::Message(number, at) => Some(write_message(phone(number)?.messages.get(*at)?)),
            Row::Companion(device) => Some(write_companion(self.registry.companion(device)?)),
            Row::Queue(device, sequence) => {
                let queue = &self.registry.companion(device)?.delivery.queue;
                let at = queue.binary_search_by_key(sequence, |queued| queued.sequence).ok()?;
                queue.get(at).map(|queued| encode_frame(&queued.node))
            }
            Row::Patch(number, name, version) => account(number)?.app_state.get(name)?.patch(*version).cloned(),
            Row::Group(group) => serde_json::to_vec(self.groups.find(group)?).ok(),
            Row::Media(token) => self.media.body(token).map(|body| body.to_vec()),
        }
    }

    fn read_row(&mut self, fields: &[&str], value: &[u8]) -> Result<(), WorldError> {
        let lost = WorldError::Unreadable("a row without its owner");
        match *fields {
            [kind::SERVICE] => {}
            [kind::ACCOUNT, number] => self.registry.insert(read_account(number, value)?),
            [kind::MEDIA, token] => self.media.insert(token.to_owned(), value.to_vec()),
            [kind::GROUP, group] => {
                let id = read_jid(group)?;
                let group: Group = serde_json::from_slice(value).map_err(|_| WorldError::Unreadable("a group"))?;
                self.groups.insert(id, group);
            }
            [_, number, ..] if !self.registry.contains(number) => return Err(lost),
            [kind::QUEUE, number, device, sequence] => {
                let sequence = sequence.parse().map_err(|_| WorldError::Unreadable("a place in a queue"))?;
                let node = decode_frame(value).map_err(|_| WorldError::Unreadable("a stanza"))?;
                self.registry.restore_queued(&device_id(number, device)?, sequence, node).ok_or(lost)?;
            }
            [kind::COMPANION, number, device] => {
                let id = device_id(number, device)?;
                let account = self.registry.account_mut(number).ok_or(lost)?;
                account.companions.insert(id.device, read_companion(value)?);
            }
            [kind, number, ref rest @ ..] => {
                read_owned(self.registry.account_mut(number).ok_or(lost)?, kind, rest, value)?;
            }
            _ => return Err(WorldError::Unreadable("a row of unknown kind")),
        }
        Ok(())
    }
}

/// A row of an account's phone, or of its app state.
fn read_owned(account: &mut Account, kind: &str, rest: &[&str], value: &[u8]) -> Result<(), WorldError> {
    match (kind, rest) {
        (kind::PHONE, []) => account.phone = read_phone(value)?,
        (kind::MESSAGE, [_]) => account.phone.messages.push(read_message(value)?),
        (kind::PATCH, [name, _]) => account.app_state.entry((*name).to_owned()).or_default().push(value.to_vec()),
        _ => read_keys_of(&mut account.phone, kind, rest, value)?,
    }
    Ok(())
}

/// A row of a phone's sessions or sender keys.
fn read_keys_of(phone: &mut Phone, kind: &str, rest: &[&str], value: &[u8]) -> Result<(), WorldError> {
    match (kind, rest) {
        (kind::SESSION, [device]) => {
            let session = Session::from_parts(read_parts(value)?).map_err(|_| WorldError::Unreadable("a session"))?;
            phone.sessions.insert(read_jid(device)?.protocol_address(), session);
        }
        (kind::SENDER_KEYS, [author, group]) => {
            let keys = TheirSenderKeys::from_parts(read_parts(value)?);
            let keys = keys.map_err(|_| WorldError::Unreadable("a member's sender keys"))?;
            phone.sender_keys.insert(read_jid(author)?.sender_key_name(&read_jid(group)?), keys);
        }
        (kind::GROUP_KEY, [group]) => {
            let bad = || WorldError::Unreadable("a sender key");
            let row = proto::GroupKey::decode(value).map_err(|_| bad())?;
            let key = OurSenderKey::decode(row.key()).map_err(|_| bad())?;
            let holders = row.holders.iter().map(read_device).collect();
            phone.groups.insert(read_jid(group)?, GroupKey { key, holders });
        }
        _ => return Err(WorldError::Unreadable("a row of unknown kind")),
    }
    Ok(())
}
