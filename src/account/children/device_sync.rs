//! Device lists and the mapping between phone numbers and LIDs (`wire-protocol.md` 1.9, 1.11).
//!
//! Invariant: one canonical address per peer, its LID where it is known; everything is filed under that.

use crate::account::codec::{decode, encode};
use crate::account::error::AccountError;
use crate::account::proto::{DeviceList, device_list};
use crate::storage::{AccountStore, ChangeSet, kind, owner};
use crate::wire::adv::read_key_indexes;
use crate::wire::{Jid, Node, Server, WireError};
use std::collections::HashMap;

type Writes = ChangeSet<owner::DeviceSync>;

pub struct DeviceSync {
    store: AccountStore,
    /// Mappings learned in the current turn are not in the store yet.
    lids: HashMap<Jid, Jid>,
    pns: HashMap<Jid, Jid>,
    lists: HashMap<Jid, DeviceList>,
}

/// A user as we address it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownUser {
    pub pn: Option<Jid>,
    pub lid: Option<Jid>,
    pub devices: Vec<u16>,
}

/// One user of a usync answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsyncUser {
    pub user: Jid,
    pub lid: Option<Jid>,
    /// `None` when the service knows no devices: the number is not registered.
    pub devices: Option<Vec<(u16, u32)>>,
    pub raw_id: u32,
}

/// What was filed, and what follows from it for sessions.
#[derive(Default)]
pub struct Learned {
    pub writes: Writes,
    /// Phone numbers and LIDs that are one person, as nobody knew before.
    pub mapped: Vec<(Jid, Jid)>,
    /// Users who have registered anew: by all their addresses.
    pub anew: Vec<Vec<Jid>>,
}

impl DeviceSync {
    pub fn new(store: AccountStore) -> Self {
        Self { store, lids: HashMap::new(), pns: HashMap::new(), lists: HashMap::new() }
    }

    /// The user's devices, if the registry has them.
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

    /// Files a usync answer.
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
                learned.anew.push(self.addresses(&canonical)?);
            }
            let entries = devices
                .iter()
                .map(|(id, key_index)| device_list::Entry { id: Some(u32::from(*id)), key_index: Some(*key_index) });
            let list = DeviceList { raw_id: Some(user.raw_id), devices: entries.collect() };
            learned.writes.put(kind::DEVICES, canonical.to_string(), encode(&list));
            self.lists.insert(canonical, list);
        }
        Ok(learned)
    }

    /// Files that these phone numbers and LIDs are one person each.
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
        learned.writes.put(kind::LID_OF, pn.user(), lid.user());
        learned.writes.put(kind::PN_OF, lid.user(), pn.user());
        self.lids.insert(pn.clone(), lid.clone());
        self.pns.insert(lid.clone(), pn.clone());
        learned.mapped.push((pn.clone(), lid.clone()));
        if self.list(pn)?.is_some() {
            learned.writes.delete(kind::DEVICES, pn.to_string());
            self.lists.remove(pn);
        }
        Ok(())
    }

    /// Whether the registry has this device. The phone, device 0, is always known.
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

    /// Drops a user's list, so that the next use asks the service.
    pub fn forget(&mut self, user: &Jid) -> Result<Writes, AccountError> {
        let canonical = self.canonical(user)?.bare();
        let mut writes = Writes::default();
        if self.list(&canonical)?.is_some() {
            writes.delete(kind::DEVICES, canonical.to_string());
            self.lists.remove(&canonical);
        }
        Ok(writes)
    }

    /// Forgets a user: returns its addresses, and how many lists went.
    pub fn forget_user(&mut self, user: &Jid) -> Result<(Vec<Jid>, u64, Writes), AccountError> {
        let (pn, lid) = match user.server() {
            Server::Lid => (self.pn_of(user)?, Some(user.clone())),
            _ => (Some(user.clone()), self.lid_of(user)?),
        };
        let (mut writes, mut lists) = (Writes::default(), 0);
        let addresses: Vec<Jid> = pn.iter().chain(&lid).cloned().collect();
        for address in &addresses {
            if self.list(address)?.is_some() {
                writes.delete(kind::DEVICES, address.to_string());
                self.lists.remove(address);
                lists += 1;
            }
        }
        if let (Some(pn), Some(lid)) = (pn, lid) {
            writes.delete(kind::LID_OF, pn.user());
            writes.delete(kind::PN_OF, lid.user());
            self.lids.remove(&pn);
            self.pns.remove(&lid);
        }
        Ok((addresses, lists, writes))
    }

    /// The address that everything about this device is filed under.
    pub fn canonical(&mut self, jid: &Jid) -> Result<Jid, AccountError> {
        if jid.server() == Server::Pn
            && let Some(lid) = self.lid_of(&jid.bare())?
        {
            return Ok(lid.with_device(jid.device()));
        }
        Ok(jid.clone())
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

/// The query for devices and LIDs of these users.
pub(in crate::account) fn usync_query(id: &str, sid: &str, users: &[Jid]) -> Node {
    let list = users.iter().map(|user| Node::new("user").attr("jid", user.bare()));
    let protocols = [Node::new("devices").attr("version", "2"), Node::new("lid")];
    Node::new("iq")
        .attr("id", id.to_owned())
        .attr("xmlns", "usync")
        .attr("type", "get")
        .attr("to", Jid::service())
        .child(
            Node::new("usync")
                .attr("sid", sid.to_owned())
                .attr("mode", "query")
                .attr("last", "true")
                .attr("index", "0")
                .attr("context", "message")
                .child(Node::new("query").children(protocols))
                .child(Node::new("list").children(list)),
        )
}

/// Reads a usync answer. Companions that no signed list vouches for are dropped; the phone, device 0, always stays.
pub(in crate::account) fn read_usync(iq: &Node) -> Result<Vec<UsyncUser>, WireError> {
    let list = iq.require_child("usync")?.require_child("list")?;
    list.all("user").filter(|user| user.has("jid")).map(read_user).collect()
}

fn read_user(user: &Node) -> Result<UsyncUser, WireError> {
    let jid = user.require_jid("jid")?.bare();
    let lid = user.find("lid").and_then(|node| node.jid("val")).map(|lid| lid.bare());
    let Some(devices) = user.find("devices").filter(|devices| devices.find("device-list").is_some()) else {
        return Ok(UsyncUser { user: jid, lid, devices: None, raw_id: 0 });
    };
    // A phone signs what it likes: a list that makes no sense is none, and nobody else's answer is the worse for it.
    let indexes = devices.find("key-index-list").and_then(|node| read_key_indexes(node.content_bytes()).ok());
    let mut kept = vec![(0, 0)];
    for device in devices.require_child("device-list")?.all("device") {
        // The wire has one byte for a device: a higher one could not be addressed.
        let id = device.number("id").and_then(|id| u8::try_from(id).ok()).map(u16::from);
        let index = device.number("key-index").and_then(|index| u32::try_from(index).ok());
        if let (Some(id @ 1..), Some(index), Some(indexes)) = (id, index, &indexes)
            && indexes.vouches_for(index)
            && !device.is("is_hosted", "true")
        {
            kept.push((id, index));
        }
    }
    let raw_id = indexes.map_or(0, |indexes| indexes.raw_id);
    Ok(UsyncUser { user: jid, lid, devices: Some(kept), raw_id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::AccountKey;
    use crate::signal::IdentityKeyPair;
    use crate::signal::testing::rng;
    use crate::storage::{MemoryEngine, Overlay, Records};
    use crate::wire::adv::sign_key_indexes;
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
    fn a_user_with_another_raw_id_has_registered_anew() {
        let records = Records::new(Arc::new(MemoryEngine::default()));
        let mut devices =
            DeviceSync::new(AccountStore::new(records, AccountKey::from_bytes([1; 16]), Overlay::default()));
        let (pn, lid) = (Jid::pn("5511"), Jid::new("77", Server::Lid));
        let mut learn = |raw_id| {
            let devices_of = Some(vec![(0, 0)]);
            let user = UsyncUser { user: pn.clone(), lid: Some(lid.clone()), devices: devices_of, raw_id };
            devices.learn(&[user]).unwrap().anew
        };
        assert_eq!(learn(5), Vec::<Vec<Jid>>::new(), "nothing was known before");
        assert_eq!(learn(5), Vec::<Vec<Jid>>::new());
        assert_eq!(learn(6), [vec![pn.clone(), lid.clone()]]);
    }

    fn answer(indexes: Option<Vec<u8>>) -> Node {
        let device = |id: u64, index: u64| Node::new("device").attr("id", id).attr("key-index", index);
        let list = [Node::new("device").attr("id", "0"), device(1, 1), device(2, 2), device(3, 9)];
        let mut devices = Node::new("devices").child(Node::new("device-list").children(list));
        if let Some(bytes) = indexes {
            devices = devices.child(Node::new("key-index-list").attr("ts", "1").bytes(bytes));
        }
        let user = Node::new("user").attr("jid", Jid::pn("5511")).child(devices);
        Node::new("iq").child(Node::new("usync").child(Node::new("list").child(user)))
    }

    #[test]
    fn only_companions_that_the_phone_vouches_for_are_kept() {
        let phone = IdentityKeyPair::generate(&mut rng(1));
        let signed = sign_key_indexes(&phone, (5, 1), 3, vec![0, 1], &mut rng(2));
        let user = read_usync(&answer(Some(signed))).unwrap().remove(0);
        assert_eq!(user.devices, Some(vec![(0, 0), (1, 1), (3, 9)]));
    }

    #[test]
    fn of_a_user_with_a_malformed_or_forged_list_only_the_phone_is_kept_and_others_are_read() {
        let phone = IdentityKeyPair::generate(&mut rng(1));
        let mut forged = sign_key_indexes(&phone, (5, 1), 3, vec![0, 1], &mut rng(2));
        let middle = forged.len() / 2;
        forged[middle] ^= 1;
        for wrong in [forged, vec![0xff; 9]] {
            let users = read_usync(&answer(Some(wrong))).unwrap();
            assert_eq!(users[0].devices, Some(vec![(0, 0)]));
        }
    }

    #[test]
    fn without_a_signed_list_only_the_phone_is_kept() {
        let user = read_usync(&answer(None)).unwrap().remove(0);
        assert_eq!(user.devices, Some(vec![(0, 0)]));
    }
}
