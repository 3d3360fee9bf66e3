//! Group sender keys: ours with its holders and its rotation, and the members' (`signal-protocol.txt`, "Sender Keys";
//! `wire-protocol.md` 1.12).
//!
//! Only this module writes `SENDER_KEY`, `OWN_SENDER_KEY` and `KEY_HOLDERS`. Invariant: a device counts as a holder only once the
//! service has acknowledged the message that brought it the key, and a device that has left never holds the key in use.

use super::member_resets::MemberResets;
use crate::account::children::machine::Machine;
use crate::account::codec::{self, decode, encode};
use crate::account::error::AccountError;
use crate::account::proto::KeyHolders;
use crate::base::address::SenderKeyName;
use crate::signal::{
    Buffer, ChainId, JumpLimit, OurSenderKey, Part, SenderKeyDistribution, SenderKeyMessage, SignalError,
    TheirSenderKeys,
};
use crate::storage::{AccountStore, ChangeSet, kind, owner};
use crate::wire::Jid;
use rand::rngs::StdRng;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Our key is rotated after so many messages.
const MAX_MESSAGES: u32 = 1000;

type Writes = ChangeSet<owner::SenderKeys>;

/// Selects the groups whose keys stay in memory; the others are read from the store when they are used.
pub trait Recency: Send {
    /// A group's key is used.
    fn used(&mut self, group: &Jid);

    /// Groups evicted since the last call.
    fn idle(&mut self) -> Vec<Jid>;
}

/// Every key stays: for tests, and for accounts with few groups.
pub struct KeepAll;

impl Recency for KeepAll {
    fn used(&mut self, _: &Jid) {}

    fn idle(&mut self) -> Vec<Jid> {
        Vec::new()
    }
}

pub struct SenderKeys {
    store: AccountStore,
    rng: StdRng,
    recency: Box<dyn Recency>,
    buffer: Buffer,
    theirs: HashMap<SenderKeyName, TheirSenderKeys>,
    ours: HashMap<Jid, Ours>,
    /// Groups whose key was dropped: its deletion may not be stored yet.
    dropped: HashSet<Jid>,
    resets: MemberResets,
    writes: Writes,
}

impl Machine for SenderKeys {
    type Owner = owner::SenderKeys;
    const NAME: &'static str = "sender keys";

    fn take_writes(&mut self) -> Writes {
        std::mem::take(&mut self.writes)
    }

    fn rest(&mut self) {
        (self.theirs, self.ours, self.dropped) = (HashMap::new(), HashMap::new(), HashSet::new());
    }
}

struct Ours {
    key: OurSenderKey,
    holders: BTreeSet<Jid>,
}

/// Our key for a group, as it is distributed to devices that lack it.
pub struct Prepared {
    pub chain: ChainId,
    /// The devices that lack it.
    pub fresh: Vec<Jid>,
    pub distribution: Vec<u8>,
}

/// Devices that an unacknowledged message brings our key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDelivery {
    pub chain: ChainId,
    pub devices: Vec<Jid>,
}

impl SenderKeys {
    pub fn new(store: AccountStore, rng: StdRng, recency: Box<dyn Recency>) -> Self {
        let (theirs, ours) = (HashMap::new(), HashMap::new());
        Self {
            store,
            rng,
            recency,
            buffer: Buffer::new(),
            theirs,
            ours,
            dropped: HashSet::new(),
            resets: MemberResets::default(),
            writes: Writes::default(),
        }
    }

    /// Our key for a group with these devices. It is rotated after `MAX_MESSAGES` messages, and when a device that has it, or is
    /// being sent it, has left.
    pub fn prepare(
        &mut self,
        group: &Jid,
        devices: &[Jid],
        on_their_way: &[KeyDelivery],
    ) -> Result<Prepared, AccountError> {
        let present: HashSet<&Jid> = devices.iter().collect();
        let known = self.load_ours(group)?.map(|ours| {
            let sent = on_their_way.iter().filter(|delivery| delivery.chain == ours.key.chain_id());
            let holders: HashSet<Jid> =
                ours.holders.iter().chain(sent.flat_map(|delivery| &delivery.devices)).cloned().collect();
            let is_spent = ours.key.iteration() >= MAX_MESSAGES;
            (holders, is_spent)
        });
        let holders = match known {
            Some((holders, false)) if holders.iter().all(|holder| present.contains(holder)) => holders,
            _ => {
                let key = OurSenderKey::generate(&mut self.rng);
                self.writes.put(kind::OWN_SENDER_KEY, group.to_string(), key.encode().to_vec());
                self.writes.delete(kind::KEY_HOLDERS, group.to_string());
                self.ours.insert(group.clone(), Ours { key, holders: BTreeSet::new() });
                self.dropped.remove(group);
                HashSet::new()
            }
        };
        let Some(ours) = self.ours.get(group) else { return Err(AccountError::Record { what: "sender key" }) };
        Ok(Prepared {
            chain: ours.key.chain_id(),
            fresh: devices.iter().filter(|device| !holders.contains(*device)).cloned().collect(),
            distribution: ours.key.distribution().encode(),
        })
    }

    /// Encrypts for the group.
    pub fn encrypt(&mut self, group: &Jid, plaintext: &[u8]) -> Result<Result<Vec<u8>, SignalError>, AccountError> {
        if self.load_ours(group)?.is_none() {
            return Ok(Err(SignalError::NoSession));
        }
        let Some(ours) = self.ours.get_mut(group) else { return Ok(Err(SignalError::NoSession)) };
        let ciphertext = match ours.key.encrypt(plaintext, &mut self.rng, &mut self.buffer) {
            Ok(ciphertext) => ciphertext.to_vec(),
            Err(error) => return Ok(Err(error)),
        };
        self.writes.put(kind::OWN_SENDER_KEY, group.to_string(), ours.key.encode().to_vec());
        Ok(Ok(ciphertext))
    }

    /// Makes these devices holders: the service acknowledged the message that brought them the key.
    pub fn add_holders(&mut self, group: &Jid, delivery: &KeyDelivery) -> Result<(), AccountError> {
        if let Some(ours) = self.load_ours(group)?.filter(|ours| ours.key.chain_id() == delivery.chain) {
            ours.holders.extend(delivery.devices.iter().cloned());
            self.put_holders(group)?;
        }
        Ok(())
    }

    /// Removes a holder that could not decrypt: it gets the key again with the next message.
    pub fn remove_holder(&mut self, group: &Jid, device: &Jid) -> Result<(), AccountError> {
        if let Some(ours) = self.load_ours(group)?
            && ours.holders.remove(device)
        {
            self.put_holders(group)?;
        }
        Ok(())
    }

    /// True when a device of this user holds our key.
    pub fn is_held_by(&mut self, group: &Jid, user: &[Jid]) -> Result<bool, AccountError> {
        let holds =
            |ours: &Ours| ours.holders.iter().any(|holder| user.iter().any(|name| name.is_same_user_as(holder)));
        Ok(self.load_ours(group)?.is_some_and(|ours| holds(ours)))
    }

    /// Our current key for the group, if there is one.
    pub fn distribution(&mut self, group: &Jid) -> Result<Option<Vec<u8>>, AccountError> {
        Ok(self.load_ours(group)?.map(|ours| ours.key.distribution().encode()))
    }

    /// Drops our key: the next message to the group makes a new one.
    pub fn forget_ours(&mut self, group: &Jid) {
        self.ours.remove(group);
        self.dropped.insert(group.clone());
        self.writes.delete(kind::OWN_SENDER_KEY, group.to_string());
        self.writes.delete(kind::KEY_HOLDERS, group.to_string());
    }

    /// Processes a member's sender key distribution message.
    pub fn process_distribution(
        &mut self,
        name: &SenderKeyName,
        bytes: &[u8],
    ) -> Result<Result<(), SignalError>, AccountError> {
        let distribution = match SenderKeyDistribution::parse(bytes) {
            Ok(distribution) => distribution,
            Err(error) => return Ok(Err(error)),
        };
        let keys = self.load_theirs(name)?;
        keys.process(&distribution);
        let writes = take_their_writes(name, keys);
        self.writes.append(writes);
        Ok(Ok(()))
    }

    /// Removes a reinstalled user from all holders: the next message to each group brings them our key, and the key of status
    /// is rotated.
    pub fn forget_member(&mut self, addresses: &[Jid]) -> Result<(), AccountError> {
        if self.store.last(kind::KEY_HOLDERS)?.is_none() && self.ours.is_empty() {
            return Ok(());
        }
        self.resets.reset(&self.store, &mut self.writes, addresses)?;
        for ours in self.ours.values_mut() {
            ours.holders.retain(|holder| !addresses.iter().any(|lost| lost.is_same_user_as(holder)));
        }
        if self.load_ours(&Jid::status())?.is_some() {
            self.forget_ours(&Jid::status());
        }
        Ok(())
    }

    /// Decrypts a message to a group.
    pub fn decrypt(
        &mut self,
        name: &SenderKeyName,
        message: &SenderKeyMessage,
        limit: JumpLimit,
    ) -> Result<Result<Vec<u8>, SignalError>, AccountError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let keys = self.load_theirs(name)?;
        let decrypted = keys.decrypt(message, limit, &mut buffer).map(<[u8]>::to_vec);
        if decrypted.is_ok() {
            let writes = take_their_writes(name, keys);
            self.writes.append(writes);
        }
        self.buffer = buffer;
        Ok(decrypted)
    }

    fn load_ours(&mut self, group: &Jid) -> Result<Option<&mut Ours>, AccountError> {
        for idle in self.recency.idle() {
            if self.is_stored(&idle)? {
                self.ours.remove(&idle);
            } else {
                self.recency.used(&idle);
            }
        }
        self.recency.used(group);
        if !self.ours.contains_key(group) && !self.dropped.contains(group) {
            let name = group.to_string();
            let Some(stored) = self.store.get(kind::OWN_SENDER_KEY, name.as_bytes())? else { return Ok(None) };
            let stored = OurSenderKey::decode(&stored)?;
            let holders = self.load_holders(&name)?;
            self.ours.insert(group.clone(), Ours { key: stored, holders });
        }
        Ok(self.ours.get_mut(group))
    }

    /// False while what this turn wrote of a group is in memory alone: reloaded, the key would be an old one.
    fn is_stored(&mut self, group: &Jid) -> Result<bool, AccountError> {
        let name = group.to_string();
        let stored = self.store.get(kind::OWN_SENDER_KEY, name.as_bytes())?;
        let holders = self.load_holders(&name)?;
        let is_same = |ours: &Ours| stored.as_deref() == Some(&ours.key.encode()) && holders == ours.holders;
        Ok(self.ours.get(group).is_none_or(is_same))
    }

    fn load_holders(&mut self, name: &str) -> Result<BTreeSet<Jid>, AccountError> {
        const WHAT: &str = "key holders";
        let Some(bytes) = self.store.get(kind::KEY_HOLDERS, name.as_bytes())? else { return Ok(BTreeSet::new()) };
        let record: KeyHolders = decode(&bytes, WHAT)?;
        let mut holders = record.devices.iter().map(|text| codec::jid(text, WHAT)).collect::<Result<_, _>>()?;
        self.resets.prune(&self.store, &mut holders, record.resets())?;
        Ok(holders)
    }

    /// Writes the list of holders of a loaded group.
    fn put_holders(&mut self, group: &Jid) -> Result<(), AccountError> {
        let resets = Some(self.resets.latest(&self.store)?).filter(|latest| *latest > 0);
        if let Some(ours) = self.ours.get(group) {
            let devices = ours.holders.iter().map(Jid::to_string).collect();
            let record = KeyHolders { devices, group: Some(group.to_string()), resets };
            self.writes.put(kind::KEY_HOLDERS, group.to_string(), encode(&record));
        }
        Ok(())
    }

    fn load_theirs(&mut self, name: &SenderKeyName) -> Result<&mut TheirSenderKeys, AccountError> {
        match self.theirs.entry(name.clone()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let prefix = part_key(name, &[]);
                let rows = self.store.scan(kind::SENDER_KEY, &prefix)?;
                let parts = rows.iter().map(|(key, bytes)| Ok((Part::parse(&key[prefix.len()..])?, bytes)));
                let parts = parts.collect::<Result<Vec<_>, SignalError>>()?;
                Ok(place.insert(TheirSenderKeys::from_parts(parts)?))
            }
        }
    }
}

fn take_their_writes(name: &SenderKeyName, keys: &mut TheirSenderKeys) -> Writes {
    let mut writes = Writes::default();
    for (part, bytes) in keys.take_changes() {
        let key = part_key(name, &part.suffix());
        match bytes {
            Some(mut bytes) => writes.put(kind::SENDER_KEY, key, std::mem::take(&mut *bytes)),
            None => writes.delete(kind::SENDER_KEY, key),
        }
    }
    writes
}

/// A name has no zero byte, so no key is a prefix of another name's key.
fn part_key(name: &SenderKeyName, suffix: &[u8]) -> Vec<u8> {
    [name.as_str().as_bytes(), &[0], suffix].concat()
}

#[cfg(test)]
#[path = "sender_keys_tests.rs"]
mod tests;
