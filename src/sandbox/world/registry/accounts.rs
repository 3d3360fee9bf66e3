//! All accounts of the network, by phone number and by LID.

use super::account::Account;
use super::companion::{Companion, QueuedStanza};
use crate::sandbox::world::ids::DeviceId;
use crate::wire::{Jid, Node, Server};
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet, HashMap};

#[derive(Default)]
pub(in crate::sandbox::world) struct Registry {
    accounts: BTreeMap<String, Account>,
    numbers_by_lid: HashMap<String, String>,
    /// The sequence number of the last queued stanza.
    sequence: u64,
}

impl Registry {
    pub(in crate::sandbox::world) fn insert(&mut self, account: Account) {
        let number = account.pn.user().to_owned();
        self.numbers_by_lid.insert(account.lid.user().to_owned(), number.clone());
        self.accounts.insert(number, account);
    }

    /// A LID that no account has.
    pub(in crate::sandbox::world) fn free_lid(&self, rng: &mut StdRng) -> String {
        loop {
            let lid = rng.random_range(100_000_000_000_000..=999_999_999_999_999u64).to_string();
            if !self.numbers_by_lid.contains_key(&lid) {
                return lid;
            }
        }
    }

    pub(in crate::sandbox::world) fn account(&self, number: &str) -> Option<&Account> {
        self.accounts.get(number)
    }

    pub(in crate::sandbox::world) fn account_mut(&mut self, number: &str) -> Option<&mut Account> {
        self.accounts.get_mut(number)
    }

    pub(in crate::sandbox::world) fn contains(&self, number: &str) -> bool {
        self.accounts.contains_key(number)
    }

    pub(in crate::sandbox::world) fn accounts(&self) -> impl Iterator<Item = (&String, &Account)> {
        self.accounts.iter()
    }

    pub(in crate::sandbox::world) fn companion(&self, device: &DeviceId) -> Option<&Companion> {
        self.account(&device.number)?.companions.get(&device.device)
    }

    pub(in crate::sandbox::world) fn companion_mut(&mut self, device: &DeviceId) -> Option<&mut Companion> {
        self.account_mut(&device.number)?.companions.get_mut(&device.device)
    }

    /// The account of a user JID, by number or LID.
    pub(in crate::sandbox::world) fn number_of(&self, jid: &Jid) -> Option<String> {
        let number = match jid.server() {
            Server::Lid => self.numbers_by_lid.get(jid.user())?.as_str(),
            Server::Pn | Server::Legacy => jid.user(),
            _ => return None,
        };
        self.contains(number).then(|| number.to_owned())
    }

    /// All devices of an account, the phone first.
    pub(in crate::sandbox::world) fn devices_of(&self, number: &str) -> BTreeSet<DeviceId> {
        let companions = self.account(number).map(|account| account.companions.keys().copied());
        let devices = std::iter::once(0).chain(companions.into_iter().flatten());
        devices.map(|device| DeviceId::new(number, device)).collect()
    }

    pub(in crate::sandbox::world) fn lid_of(&self, device: &DeviceId) -> Option<Jid> {
        Some(self.account(&device.number)?.lid.with_device(device.device))
    }

    /// Queues a stanza until its companion acknowledges it; returns the sequence number.
    pub(in crate::sandbox::world) fn enqueue(&mut self, device: &DeviceId, node: Node) -> Option<u64> {
        self.sequence += 1;
        let sequence = self.sequence;
        self.companion_mut(device)?.delivery.queue.push_back(QueuedStanza { sequence, node });
        Some(sequence)
    }

    /// Puts a stored stanza back at the end of its queue.
    pub(in crate::sandbox::world) fn restore_queued(
        &mut self,
        device: &DeviceId,
        sequence: u64,
        node: Node,
    ) -> Option<()> {
        self.sequence = self.sequence.max(sequence);
        self.companion_mut(device)?.delivery.queue.push_back(QueuedStanza { sequence, node });
        Some(())
    }
}
