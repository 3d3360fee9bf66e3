//! Device lists and the mapping between phone numbers and LIDs (`wire-protocol.md` 1.9, 1.11).
//!
//! Invariant: one canonical address per peer, its LID where it is known; every record is stored under that.

use crate::account::children::machine::Machine;
use crate::account::codec::{decode, encode};
use crate::account::error::AccountError;
use crate::account::proto::{DeviceList, device_list};
use crate::base::address::ProtocolAddress;
use crate::storage::{AccountStore, ChangeSet, kind, owner};
use crate::wire::usync::UsyncUser;
use crate::wire::{Jid, Server};
use std::collections::HashMap;

type Writes = ChangeSet<owner::DeviceSync>;

pub struct DeviceSync {
    store: AccountStore,
    /// Mappings learned in the current turn are not in the store yet.
    lids: HashMap<Jid, Jid>,
    pns: HashMap<Jid, Jid>,
    lists: HashMap<Jid, DeviceList>,
    writes: Writes,
}

impl Machine for DeviceSync {
    type Owner = owner::DeviceSync;
    const NAME: &'static str = "device sync";

    fn take_writes(&mut self) -> Writes {
        std::mem::take(&mut self.writes)
    }

    fn rest(&mut self) {
        (self.lids, self.pns, self.lists) = (HashMap::new(), HashMap::new(), HashMap::new());
    }
}

/// A user as we address it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownUser {
    pub pn: Option<Jid>,
    pub lid: Option<Jid>,
    pub devices: Vec<u16>,
}

/// New facts of a response, and their consequences for sessions.
#[derive(Debug, Default)]
pub struct Learned {
    /// New pairs of phone number and LID.
    pub mapped: Vec<(Jid, Jid)>,
    /// Users who reinstalled, each by all addresses.
    pub reinstalled: Vec<Vec<Jid>>,
    /// Users whose LID is another than before.
    pub changed: Vec<LidChange>,
}

/// A phone number whose LID is another than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LidChange {
    pub pn: Jid,
    pub before: Jid,
}

/// A pair of phone number and LID that a stanza names, beside what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    Known,
    New,
    /// One of the two is mapped to another.
    Contradicting,
}

impl DeviceSync {
    pub fn new(store: AccountStore) -> Self {
        Self { store, lids: HashMap::new(), pns: HashMap::new(), lists: HashMap::new(), writes: Writes::default() }
    }

    /// The user's devices; `None` when its list is not stored.
    pub fn known(&mut self, user: &Jid) -> Result<Option<KnownUser>, AccountError> {
        let canonical = self.canonical(user)?.bare();
        let Some(list) = self.list(&canonical)? else {
            return Ok(None);
        };
        let devices = list.devices.iter().filter_map(|entry| u16::try_from(entry.id()).ok()).collect();
        let (pn, lid) = match canonical.server() {
            Server::Lid => (self.pn_of(&canonical)?, Some(canonical)),
            _ => (Some(canonical), None),
        };
        Ok(Some(KnownUser { pn, lid, devices }))
    }

    /// Stores a usync response.
    pub fn learn(&mut self, users: &[UsyncUser]) -> Result<Learned, AccountError> {
        let mut learned = Learned::default();
        for user in users {
            if let Some(lid) = &user.lid {
                self.map(&user.user.bare(), lid, &mut learned)?;
            }
            let Some(devices) = &user.devices else { continue };
            let canonical = self.canonical(&user.user)?.bare();
            let before = self.list(&canonical)?.map_or(0, DeviceList::raw_id);
            if before != 0 && user.raw_id != 0 && before != user.raw_id {
                learned.reinstalled.push(self.addresses(&canonical)?);
            }
            let entries = devices
                .iter()
                .map(|(id, key_index)| device_list::Entry { id: Some(u32::from(*id)), key_index: Some(*key_index) });
            let list = DeviceList { raw_id: Some(user.raw_id), devices: entries.collect() };
            self.writes.put(kind::DEVICES, canonical.to_string(), encode(&list));
            self.lists.insert(canonical, list);
        }
        Ok(learned)
    }

    /// Compares pairs of phone number and LID with what is stored.
    pub fn claims(&mut self, pairs: &[(Jid, Jid)]) -> Result<Vec<Claim>, AccountError> {
        let mut claims = Vec::with_capacity(pairs.len());
        for (pn, lid) in pairs {
            if pn.server() != Server::Pn || lid.server() != Server::Lid {
                claims.push(Claim::Known);
                continue;
            }
            let (pn, lid) = (pn.bare(), lid.bare());
            claims.push(match (self.lid_of(&pn)?, self.pn_of(&lid)?) {
                (Some(known), _) if known == lid => Claim::Known,
                (None, None) => Claim::New,
                _ => Claim::Contradicting,
            });
        }
        Ok(claims)
    }

    /// Stores pairs of a phone number and the LID of the same user.
    pub fn learn_mappings(&mut self, pairs: &[(Jid, Jid)]) -> Result<Learned, AccountError> {
        let mut learned = Learned::default();
        for (pn, lid) in pairs {
            self.map(&pn.bare(), &lid.bare(), &mut learned)?;
        }
        Ok(learned)
    }

    fn map(&mut self, pn: &Jid, lid: &Jid, learned: &mut Learned) -> Result<(), AccountError> {
        if pn.server() != Server::Pn || lid.server() != Server::Lid || self.lid_of(pn)?.as_ref() == Some(lid) {
            return Ok(());
        }
        if let Some(before) = self.lid_of(pn)? {
            self.writes.delete(kind::PN_OF, before.user());
            self.pns.remove(&before);
            learned.changed.push(LidChange { pn: pn.clone(), before });
        }
        if let Some(before) = self.pn_of(lid)? {
            self.writes.delete(kind::LID_OF, before.user());
            self.lids.remove(&before);
        }
        self.writes.put(kind::LID_OF, pn.user(), lid.user());
        self.writes.put(kind::PN_OF, lid.user(), pn.user());
        self.lids.insert(pn.clone(), lid.clone());
        self.pns.insert(lid.clone(), pn.clone());
        learned.mapped.push((pn.clone(), lid.clone()));
        if self.list(pn)?.is_some() {
            self.writes.delete(kind::DEVICES, pn.to_string());
            self.lists.remove(pn);
        }
        Ok(())
    }

    /// True when the user's list has this device. The phone, device 0, is always known.
    pub fn is_known(&mut self, device: &Jid) -> Result<bool, AccountError> {
        let canonical = self.canonical(device)?.bare();
        let listed = self.list(&canonical)?;
        let number = u32::from(device.device());
        Ok(number == 0 || listed.is_some_and(|list| list.devices.iter().any(|entry| entry.id() == number)))
    }

    /// A user's addresses: phone number and LID, as far as they are known.
    pub(in crate::account) fn addresses(&mut self, user: &Jid) -> Result<Vec<Jid>, AccountError> {
        let (pn, lid) = match user.server() {
            Server::Lid => (self.pn_of(user)?, Some(user.clone())),
            _ => (Some(user.clone()), self.lid_of(user)?),
        };
        Ok(pn.into_iter().chain(lid).collect())
    }

    /// Drops a user's list, so that the next use queries the service.
    pub fn forget(&mut self, user: &Jid) -> Result<(), AccountError> {
        let canonical = self.canonical(user)?.bare();
        if self.list(&canonical)?.is_some() {
            self.writes.delete(kind::DEVICES, canonical.to_string());
            self.lists.remove(&canonical);
        }
        Ok(())
    }

    /// Forgets a user. Returns its addresses and the number of deleted lists.
    pub fn forget_user(&mut self, user: &Jid) -> Result<(Vec<Jid>, u64), AccountError> {
        let (pn, lid) = match user.server() {
            Server::Lid => (self.pn_of(user)?, Some(user.clone())),
            _ => (Some(user.clone()), self.lid_of(user)?),
        };
        let mut lists = 0;
        let addresses: Vec<Jid> = pn.iter().chain(&lid).cloned().collect();
        for address in &addresses {
            if self.list(address)?.is_some() {
                self.writes.delete(kind::DEVICES, address.to_string());
                self.lists.remove(address);
                lists += 1;
            }
        }
        if let (Some(pn), Some(lid)) = (pn, lid) {
            self.writes.delete(kind::LID_OF, pn.user());
            self.writes.delete(kind::PN_OF, lid.user());
            self.lids.remove(&pn);
            self.pns.remove(&lid);
        }
        Ok((addresses, lists))
    }

    /// The canonical address of a device: its records are stored under that.
    pub fn canonical(&mut self, jid: &Jid) -> Result<Jid, AccountError> {
        if jid.server() == Server::Pn
            && let Some(lid) = self.lid_of(&jid.bare())?
        {
            return Ok(lid.with_device(jid.device()));
        }
        Ok(jid.clone())
    }

    /// The Signal addresses of devices, in their order.
    pub fn protocol_addresses(&mut self, devices: &[Jid]) -> Result<Vec<ProtocolAddress>, AccountError> {
        devices.iter().map(|device| Ok(self.canonical(device)?.protocol_address())).collect()
    }

    /// The LID of a phone number.
    pub fn lid_of(&mut self, pn: &Jid) -> Result<Option<Jid>, AccountError> {
        if let Some(lid) = self.lids.get(pn) {
            return Ok(Some(lid.clone()));
        }
        let stored = self.store.get(kind::LID_OF, pn.user().as_bytes())?;
        stored.map(|user| user_of(user, Server::Lid)).transpose()
    }

    /// The phone number of a LID.
    pub fn pn_of(&mut self, lid: &Jid) -> Result<Option<Jid>, AccountError> {
        if let Some(pn) = self.pns.get(lid) {
            return Ok(Some(pn.clone()));
        }
        let stored = self.store.get(kind::PN_OF, lid.user().as_bytes())?;
        stored.map(|user| user_of(user, Server::Pn)).transpose()
    }

    fn list(&mut self, canonical: &Jid) -> Result<Option<&DeviceList>, AccountError> {
        if !self.lists.contains_key(canonical) {
            let Some(bytes) = self.store.get(kind::DEVICES, canonical.to_string().as_bytes())? else {
                return Ok(None);
            };
            self.lists.insert(canonical.clone(), decode(&bytes, "device list")?);
        }
        Ok(self.lists.get(canonical))
    }
}

fn user_of(user: Vec<u8>, server: Server) -> Result<Jid, AccountError> {
    String::from_utf8(user).map(|user| Jid::new(user, server)).map_err(|_| AccountError::Record { what: "lid mapping" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::AccountKey;
    use crate::storage::{MemoryEngine, Overlay, Records};
    use std::sync::Arc;

    #[test]
    fn a_device_list_has_the_golden_form() {
        let entry = |id, key_index| device_list::Entry { id: Some(id), key_index: Some(key_index) };
        let list = DeviceList { raw_id: Some(77), devices: vec![entry(0, 0), entry(12, 3)] };
        crate::golden::check("device-list-v1.hex", &encode(&list));
    }

    #[test]
    fn a_mapping_leads_each_way_and_no_further() {
        let records = Records::new(Arc::new(MemoryEngine::default()));
        let store = AccountStore::new(records, AccountKey::from_bytes([1; 16]), Overlay::default());
        let mut devices = DeviceSync::new(store);
        let (pn, lid) = (Jid::pn("5511"), Jid::new("77", Server::Lid));
        devices.learn_mappings(&[(pn.with_device(3), lid.clone())]).unwrap();
        assert_eq!(devices.lid_of(&pn).unwrap(), Some(lid.clone()));
        assert_eq!(devices.pn_of(&lid).unwrap(), Some(pn.clone()));
        assert_eq!(devices.pn_of(&pn).unwrap(), None, "a number has no number");
        assert_eq!(devices.canonical(&pn.with_device(3)).unwrap(), lid.with_device(3));
    }

    #[test]
    fn changed_raw_id_of_a_user_is_a_reinstall() {
        let records = Records::new(Arc::new(MemoryEngine::default()));
        let mut devices =
            DeviceSync::new(AccountStore::new(records, AccountKey::from_bytes([1; 16]), Overlay::default()));
        let (pn, lid) = (Jid::pn("5511"), Jid::new("77", Server::Lid));
        let mut learn = |raw_id| {
            let devices_of = Some(vec![(0, 0)]);
            let user = UsyncUser { user: pn.clone(), lid: Some(lid.clone()), devices: devices_of, raw_id };
            devices.learn(&[user]).unwrap().reinstalled
        };
        assert_eq!(learn(5), Vec::<Vec<Jid>>::new(), "nothing was known before");
        assert_eq!(learn(5), Vec::<Vec<Jid>>::new());
        assert_eq!(learn(6), [vec![pn.clone(), lid.clone()]]);
    }
}
