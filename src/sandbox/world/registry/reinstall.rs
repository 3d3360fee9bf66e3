//! Reinstallation of a phone: new keys, no sessions, no companions (`sandbox-service.md` 7).

use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::phone::device::Phone;
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::wire::{Jid, Node};
use rand::RngExt;

/// Possible device numbers.
const DEVICES: std::ops::RangeInclusive<u16> = 0..=99;

impl World {
    /// Registers the number again: messages stay, as from a backup of the chats; keys and sessions are replaced. Acquaintances
    /// are notified of the changed identity.
    pub fn reinstall(&mut self, number: &str) -> Result<(), WorldError> {
        self.require_phone(number)?;
        let companions: Vec<u16> =
            self.registry.account(number).into_iter().flat_map(|it| it.companions.keys()).copied().collect();
        for device in companions {
            self.remove_companion(&DeviceId::new(number, device));
        }
        for row in self.rows_of_keys(number) {
            self.touch(|| row);
        }
        let (mut phone, raw_id) = (Phone::new(&mut self.rng), self.rng.random_range(1..=u32::MAX));
        let Some(account) = self.registry.account_mut(number) else { return Ok(()) };
        phone.messages = std::mem::take(&mut account.phone.messages);
        (account.phone, account.raw_id, account.last_key_index) = (phone, raw_id, 0);
        let (pn, acquaintances) = (account.pn.clone(), account.acquaintances.clone());
        for device in acquaintances.iter().filter(|device| device.number != number) {
            self.notify(device, &pn, "encrypt", |it| it.child(Node::new("identity")));
        }
        Ok(())
    }

    /// Rows of the account, its phone, its sessions and its sender keys.
    fn rows_of_keys(&self, number: &str) -> Vec<Row> {
        let Some(account) = self.registry.account(number) else { return Vec::new() };
        let (phone, mine) = (&account.phone, || number.to_owned());
        let mut rows = vec![Row::Account(mine()), Row::Phone(mine())];
        rows.extend(phone.groups.keys().map(|group| Row::GroupKey(mine(), group.clone())));
        let shared: Vec<Jid> = self.groups.ids().cloned().chain([Jid::status()]).collect();
        for person in self.registry.accounts().flat_map(|(_, other)| [&other.pn, &other.lid]) {
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
