//! A person gets a new phone, or installs the app again: other keys, no sessions, no companions (`sandbox-service.md` 7).

use crate::sandbox::world::persistence::rows::Row;
use crate::sandbox::world::phone::Phone;
use crate::sandbox::world::{DeviceId, World, WorldError};
use crate::wire::{Jid, Node};
use rand::RngExt;

/// Numbers that a device can have.
const DEVICES: std::ops::RangeInclusive<u16> = 0..=99;

impl World {
    /// The number is registered anew: what the person has read stays, as from a backup of the chats; keys and sessions are gone.
    /// Those who know the person are told of the other identity.
    pub fn reinstall(&mut self, number: &str) -> Result<(), WorldError> {
        self.phone(number)?;
        let companions: Vec<u16> =
            self.accounts.get(number).into_iter().flat_map(|it| it.companions.keys()).copied().collect();
        for device in companions {
            self.remove_companion(&DeviceId { number: number.to_owned(), device });
        }
        for row in self.rows_of_keys(number) {
            self.touch(|| row);
        }
        let (mut phone, raw_id) = (Phone::new(&mut self.rng), self.rng.random_range(1..=u32::MAX));
        let Some(account) = self.accounts.get_mut(number) else { return Ok(()) };
        phone.messages = std::mem::take(&mut account.phone.messages);
        (account.phone, account.raw_id, account.last_key_index) = (phone, raw_id, 0);
        let (pn, acquaintances) = (account.pn.clone(), account.acquaintances.clone());
        for device in acquaintances.iter().filter(|device| device.number != number) {
            self.notify(device, &pn, "encrypt", |it| it.child(Node::new("identity")));
        }
        Ok(())
    }

    /// The phone's own rows, its sessions and sender keys.
    fn rows_of_keys(&self, number: &str) -> Vec<Row> {
        let Some(account) = self.accounts.get(number) else { return Vec::new() };
        let (phone, mine) = (&account.phone, || number.to_owned());
        let mut rows = vec![Row::Account(mine()), Row::Phone(mine())];
        rows.extend(phone.groups.keys().map(|group| Row::GroupKey(mine(), group.clone())));
        let shared: Vec<Jid> = self.groups.keys().cloned().chain([Jid::status()]).collect();
        for person in self.accounts.values().flat_map(|other| [&other.pn, &other.lid]) {
            for device in DEVICES.map(|device| person.with_device(device)) {
                if phone.sessions.contains_key(&device.protocol_address()) {
                    rows.push(Row::Session(mine(), device.clone()));
                }
                let known =
                    shared.iter().filter(|group| phone.sender_keys.contains_key(&device.sender_key_name(group)));
                rows.extend(known.map(|group| Row::SenderKeys(mine(), device.clone(), group.clone())));
            }
        }
        rows
    }
}
