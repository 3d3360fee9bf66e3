//! Changes of an account's devices: notifications to those concerned, and removal (`sandbox-service.md` 7).

use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::net::schedule::{Action, RECEIPT_DELAY};
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::wire::Node;
use std::collections::BTreeSet;

impl World {
    /// Notifies an account's own devices, and those that have queried its device list, of a device added or removed.
    pub(in crate::sandbox::world) fn announce_device(
        &mut self,
        device: &DeviceId,
        key_index: u32,
        change: &'static str,
    ) {
        let Some(account) = self.registry.account(&device.number) else { return };
        let list = account.key_index_list(self.now.secs(), &mut self.rng);
        let (pn, lid) = (account.pn.clone(), account.lid.clone());
        let own = self.registry.devices_of(&device.number);
        let listeners = account.acquaintances.iter().cloned().chain(own.iter().cloned());
        let listeners: BTreeSet<DeviceId> =
            listeners.filter(|listener| listener.device != 0 && listener != device).collect();
        for listener in listeners {
            for (from, other) in [(&pn, Some(&lid)), (&lid, None)] {
                let changed = Node::new(change).attr("device_hash", "2:sandbox").children([
                    Node::new("device")
                        .attr("jid", from.with_device(device.device))
                        .attr("key-index", u64::from(key_index)),
                    Node::new("key-index-list").attr("ts", self.now.secs()).bytes(list.clone()),
                ]);
                self.notify(&listener, from, "devices", |it| it.maybe("lid", other).child(changed));
            }
            if own.contains(&listener) {
                let devices = self.own_devices(&listener.number);
                self.notify(&listener, &pn, "account_sync", |it| it.child(devices));
            }
        }
    }

    fn own_devices(&self, number: &str) -> Node {
        let devices = self.registry.account(number).into_iter().flat_map(|account| {
            let companions = account.companions.iter().map(|(id, companion)| (*id, companion.keys.key_index));
            let device = |(id, index): (u16, u32)| {
                Node::new("device").attr("jid", account.pn.with_device(id)).attr("key-index", u64::from(index))
            };
            std::iter::once((0, 0)).chain(companions).map(device)
        });
        Node::new("devices").attr("dhash", "2:sandbox").children(devices.collect::<Vec<_>>())
    }

    /// Removes a companion: its connection ends, and the other devices are notified.
    pub(in crate::sandbox::world) fn remove_companion(&mut self, device: &DeviceId) {
        let Some(account) = self.registry.account_mut(&device.number) else { return };
        let Some(companion) = account.companions.remove(&device.device) else { return };
        for queued in &companion.delivery.queue {
            self.touch(|| Row::Queue(device.clone(), queued.sequence));
        }
        self.touch(|| Row::Companion(device.clone()));
        if let Some(id) = companion.connection {
            let conflict = Node::new("conflict").attr("type", "device_removed");
            let removed = Node::new("stream:error").attr("code", "401").child(conflict);
            self.after(RECEIPT_DELAY, Action::Send(id, Box::new(removed)));
            self.after(RECEIPT_DELAY * 2, Action::Close(id));
        }
        self.announce_device(device, companion.keys.key_index, "remove");
    }

    /// The person removes a companion on the phone.
    pub fn unlink(&mut self, number: &str, device: u16) -> Result<(), WorldError> {
        let id = DeviceId::new(number, device);
        let companions = &self.require_phone(number)?.companions;
        companions.get(&device).ok_or_else(|| WorldError::NoCompanion(number.to_owned(), device))?;
        self.remove_companion(&id);
        Ok(())
    }
}
