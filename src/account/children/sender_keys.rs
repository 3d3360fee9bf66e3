//! Group sender keys: ours, who holds them, and the members' (`signal-protocol.txt`, "Sender Keys"; `wire-protocol.md` 1.12).
//!
//! Only this module writes `SENDER_KEY`, `OWN_SENDER_KEY` and `KEY_HOLDERS`. Invariant: a device counts as a holder only once the
//! service has acknowledged the message that brought it the key, and nobody who has left holds a key that is still used.

use crate::account::codec::{decode, encode};
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

/// A key is replaced after so many messages.
const MAX_MESSAGES: u32 = 1000;

type Writes = ChangeSet<owner::SenderKeys>;

/// Which groups' keys stay in memory; those that are not used for long are read from the store again.
pub trait Recency: Send {
    /// A group's key is used.
    fn used(&mut self, group: &Jid);

    /// Groups whose keys need not stay, since this was last asked.
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
}

struct Ours {
    key: OurSenderKey,
    holders: BTreeSet<Jid>,
}

/// Our key for a group, as it goes to those who lack it.
pub struct Prepared {
    pub chain: ChainId,
    /// The devices that lack it.
    pub fresh: Vec<Jid>,
    pub distribution: Vec<u8>,
    pub writes: Writes,
}

/// Devices that a message on its way brings a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDelivery {
    pub chain: ChainId,
    pub devices: Vec<Jid>,
}

impl SenderKeys {
    pub fn new(store: AccountStore, rng: StdRng, recency: Box<dyn Recency>) -> Self {
        Self { store, rng, recency, buffer: Buffer::new(), theirs: HashMap::new(), ours: HashMap::new() }
    }

    /// Our key for a group with these devices. It is a new one when there was none, when it has served long enough, and when a
    /// device that has it, or is being sent it, is gone.
    pub fn prepare(
        &mut self,
        group: &Jid,
        devices: &[Jid],
        on_their_way: &[KeyDelivery],
    ) -> Result<Prepared, AccountError> {
        let mut writes = Writes::default();
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
                writes.put(kind::OWN_SENDER_KEY, group.to_string(), key.encode().to_vec());
                writes.delete(kind::KEY_HOLDERS, group.to_string());
                self.ours.insert(group.clone(), Ours { key, holders: BTreeSet::new() });
                HashSet::new()
            }
        };
        let Some(ours) = self.ours.get(group) else { return Err(AccountError::Record { what: "sender key" }) };
        Ok(Prepared {
            chain: ours.key.chain_id(),
            fresh: devices.iter().filter(|device| !holders.contains(*device)).cloned().collect(),
            distribution: ours.key.distribution().encode(),
            writes,
        })
    }

    /// Encrypts for the group.
    pub fn seal(
        &mut self,
        group: &Jid,
        plaintext: &[u8],
    ) -> Result<Result<(Vec<u8>, Writes), SignalError>, AccountError> {
        if self.load_ours(group)?.is_none() {
            return Ok(Err(SignalError::NoSession));
        }
        let Some(ours) = self.ours.get_mut(group) else { return Ok(Err(SignalError::NoSession)) };
        let sealed = match ours.key.encrypt(plaintext, &mut self.rng, &mut self.buffer) {
            Ok(sealed) => sealed.to_vec(),
            Err(error) => return Ok(Err(error)),
        };
        let mut writes = Writes::default();
        writes.put(kind::OWN_SENDER_KEY, group.to_string(), ours.key.encode().to_vec());
        Ok(Ok((sealed, writes)))
    }

    /// The service has taken the message that brought these devices the key.
    pub fn mark(&mut self, group: &Jid, delivery: &KeyDelivery) -> Result<Writes, AccountError> {
        let mut writes = Writes::default();
        if let Some(ours) = self.load_ours(group)?.filter(|ours| ours.key.chain_id() == delivery.chain) {
            ours.holders.extend(delivery.devices.iter().cloned());
            put_holders(&mut writes, group, &ours.holders);
        }
        Ok(writes)
    }

    /// A device says that it cannot read: it gets the key again with the next message.
    pub fn unmark(&mut self, group: &Jid, device: &Jid) -> Result<Writes, AccountError> {
        let mut writes = Writes::default();
        if let Some(ours) = self.load_ours(group)?
            && ours.holders.remove(device)
        {
            put_holders(&mut writes, group, &ours.holders);
        }
        Ok(writes)
    }

    /// Our key for the group as it is now; `None` when there is none.
    pub fn distribution(&mut self, group: &Jid) -> Result<Option<Vec<u8>>, AccountError> {
        Ok(self.load_ours(group)?.map(|ours| ours.key.distribution().encode()))
    }

    /// Drops our key: the next message to the group makes a new one.
    pub fn forget_ours(&mut self, group: &Jid) -> Writes {
        let mut writes = Writes::default();
        self.drop_ours(group, &mut writes);
        writes
    }

    fn drop_ours(&mut self, group: &Jid, writes: &mut Writes) {
        self.ours.remove(group);
        writes.delete(kind::OWN_SENDER_KEY, group.to_string());
        writes.delete(kind::KEY_HOLDERS, group.to_string());
    }

    /// Takes up the key that a member has sent.
    pub fn take(&mut self, name: &SenderKeyName, bytes: &[u8]) -> Result<Result<Writes, SignalError>, AccountError> {
        let distribution = match SenderKeyDistribution::parse(bytes) {
            Ok(distribution) => distribution,
            Err(error) => return Ok(Err(error)),
        };
        let keys = self.load_theirs(name)?;
        keys.process(&distribution);
        Ok(Ok(put_theirs(name, keys)))
    }

    /// A user has lost what they had, as with a new phone: each group's next message brings them our key, and the next status
    /// has a new one for everybody.
    pub fn lost(&mut self, addresses: &[Jid]) -> Result<Writes, AccountError> {
        let mut writes = Writes::default();
        let mut groups: HashSet<Jid> = self.ours.keys().cloned().collect();
        for (_, bytes) in self.store.scan(kind::KEY_HOLDERS, b"")? {
            let stored: KeyHolders = decode(&bytes, "key holders")?;
            groups.extend(stored.group.as_deref().map(Jid::parse).transpose()?);
        }
        for group in groups {
            let Some(ours) = self.load_ours(&group)? else { continue };
            let before = ours.holders.len();
            ours.holders.retain(|holder| !addresses.iter().any(|lost| lost.is_same_user_as(holder)));
            if ours.holders.len() != before {
                put_holders(&mut writes, &group, &ours.holders);
            }
        }
        if self.load_ours(&Jid::status())?.is_some() {
            self.drop_ours(&Jid::status(), &mut writes);
        }
        Ok(writes)
    }

    /// Decrypts a message to a group.
    pub fn open(
        &mut self,
        name: &SenderKeyName,
        message: &SenderKeyMessage,
        limit: JumpLimit,
    ) -> Result<Result<(Vec<u8>, Writes), SignalError>, AccountError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let keys = self.load_theirs(name)?;
        let opened = keys.decrypt(message, limit, &mut buffer).map(<[u8]>::to_vec);
        let opened = opened.map(|plaintext| (plaintext, put_theirs(name, keys)));
        self.buffer = buffer;
        Ok(opened)
    }

    fn load_ours(&mut self, group: &Jid) -> Result<Option<&mut Ours>, AccountError> {
        // What was written is in the store, or pinned on its way there.
        for idle in self.recency.idle() {
            self.ours.remove(&idle);
        }
        self.recency.used(group);
        if !self.ours.contains_key(group) {
            let name = group.to_string();
            let Some(stored) = self.store.get(kind::OWN_SENDER_KEY, name.as_bytes())? else { return Ok(None) };
            let holders = match self.store.get(kind::KEY_HOLDERS, name.as_bytes())? {
                Some(bytes) => decode::<KeyHolders>(&bytes, "key holders")?.devices,
                None => Vec::new(),
            };
            let holders = holders.iter().map(|text| Jid::parse(text)).collect::<Result<_, _>>()?;
            self.ours.insert(group.clone(), Ours { key: OurSenderKey::decode(&stored)?, holders });
        }
        Ok(self.ours.get_mut(group))
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

fn put_holders(writes: &mut Writes, group: &Jid, holders: &BTreeSet<Jid>) {
    let devices = holders.iter().map(Jid::to_string).collect();
    let holders = KeyHolders { devices, group: Some(group.to_string()) };
    writes.put(kind::KEY_HOLDERS, group.to_string(), encode(&holders));
}

fn put_theirs(name: &SenderKeyName, keys: &mut TheirSenderKeys) -> Writes {
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

/// No name has a zero byte, so none is the beginning of another's key.
fn part_key(name: &SenderKeyName, suffix: &[u8]) -> Vec<u8> {
    [name.as_str().as_bytes(), &[0], suffix].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::AccountKey;
    use crate::signal::testing::rng;
    use crate::storage::{Batch, Changes, MemoryEngine, Overlay, Records};
    use crate::wire::Server;
    use std::sync::Arc;

    /// The machine over a memory engine, each call committed.
    struct Fixture {
        records: Records,
        keys: SenderKeys,
    }

    /// Every other group is idle at once.
    struct OneAtATime(Option<Jid>);

    impl Recency for OneAtATime {
        fn used(&mut self, group: &Jid) {
            self.0 = Some(group.clone());
        }

        fn idle(&mut self) -> Vec<Jid> {
            self.0.take().into_iter().collect()
        }
    }

    const KEY: AccountKey = AccountKey::from_bytes([1; 16]);

    impl Fixture {
        fn new() -> Self {
            Self::over(Records::new(Arc::new(MemoryEngine::default())))
        }

        fn over(records: Records) -> Self {
            let store = AccountStore::new(records.clone(), KEY, Overlay::default());
            let keys = SenderKeys::new(store, rng(1), Box::new(OneAtATime(None)));
            Self { records, keys }
        }

        fn commit(&mut self, writes: Writes) {
            let (mut changes, mut batch) = (Changes::default(), Batch::default());
            changes.absorb(writes);
            changes.writes.into_iter().for_each(|write| self.records.stage(&mut batch, KEY, write).unwrap());
            self.records.engine().apply(batch).unwrap();
        }

        fn prepare(&mut self, devices: &[Jid], on_their_way: &[KeyDelivery]) -> (ChainId, Vec<Jid>) {
            let prepared = self.keys.prepare(&group(), devices, on_their_way).unwrap();
            self.commit(prepared.writes);
            (prepared.chain, prepared.fresh)
        }

        fn mark(&mut self, chain: ChainId, devices: &[Jid]) {
            let writes = self.keys.mark(&group(), &KeyDelivery { chain, devices: devices.to_vec() }).unwrap();
            self.commit(writes);
        }

        fn reloaded(self) -> Self {
            Self::over(self.records)
        }
    }

    fn group() -> Jid {
        Jid::new("120363000000000000", Server::Group)
    }

    fn devices(count: u16) -> Vec<Jid> {
        (0..count).map(|device| Jid::new("7", Server::Lid).with_device(device)).collect()
    }

    #[test]
    fn the_key_goes_to_those_who_lack_it_and_an_acknowledgement_makes_a_holder() {
        let mut it = Fixture::new();
        let (chain, fresh) = it.prepare(&devices(2), &[]);
        assert_eq!(fresh, devices(2));
        assert_eq!(it.prepare(&devices(2), &[]), (chain, devices(2)), "nothing was acknowledged");
        it.mark(chain, &devices(2));
        let mut it = it.reloaded();
        assert_eq!(it.prepare(&devices(3), &[]), (chain, devices(3)[2..].to_vec()));
        let writes = it.keys.unmark(&group(), &devices(2)[1]).unwrap();
        it.commit(writes);
        assert_eq!(it.reloaded().prepare(&devices(2), &[]), (chain, devices(2)[1..].to_vec()));
    }

    #[test]
    fn who_is_being_sent_the_key_is_not_sent_it_again() {
        let mut it = Fixture::new();
        let (chain, fresh) = it.prepare(&devices(2), &[]);
        let on_its_way = [KeyDelivery { chain, devices: fresh }];
        assert_eq!(it.prepare(&devices(3), &on_its_way), (chain, devices(3)[2..].to_vec()));
        let of_an_old_key = [KeyDelivery { chain: ChainId(chain.0 ^ 1), devices: devices(2) }];
        assert_eq!(it.prepare(&devices(2), &of_an_old_key), (chain, devices(2)));
    }

    #[test]
    fn a_key_is_replaced_when_a_holder_has_left_and_after_a_thousand_messages() {
        let mut it = Fixture::new();
        let (first, _) = it.prepare(&devices(3), &[]);
        it.mark(first, &devices(3));
        let (second, fresh) = it.prepare(&devices(2), &[]);
        assert_ne!(first, second);
        assert_eq!(fresh, devices(2), "everybody who stays gets the new one");
        it.mark(first, &devices(3));
        assert_eq!(it.prepare(&devices(2), &[]).1, devices(2), "an old acknowledgement makes no holder of the new key");
        it.mark(second, &devices(2));
        for _ in 0..MAX_MESSAGES {
            let (_, writes) = it.keys.seal(&group(), b"x").unwrap().unwrap();
            it.commit(writes);
        }
        let mut it = it.reloaded();
        let (third, fresh) = it.prepare(&devices(2), &[]);
        assert_ne!(second, third);
        assert_eq!(fresh, devices(2));
    }

    #[test]
    fn a_members_messages_are_read_once_their_key_is_known_and_after_a_restart() {
        let (mut ours, mut theirs) = (Fixture::new(), Fixture::new());
        theirs.prepare(&devices(1), &[]);
        let name = devices(1)[0].sender_key_name(&group());
        let mut seal =
            |text: &[u8]| SenderKeyMessage::parse(theirs.keys.seal(&group(), text).unwrap().unwrap().0).unwrap();
        let limit = JumpLimit::default();
        let first = seal(b"first");
        let unknown = ours.keys.open(&name, &first, limit).unwrap();
        assert!(matches!(unknown, Err(SignalError::UnknownSenderKey { .. })));
        let key = theirs.keys.distribution(&group()).unwrap().unwrap();
        // The distribution begins behind the first message.
        let writes = ours.keys.take(&name, &key).unwrap().unwrap();
        ours.commit(writes);
        let mut ours = ours.reloaded();
        let mut seal =
            |text: &[u8]| SenderKeyMessage::parse(theirs.keys.seal(&group(), text).unwrap().unwrap().0).unwrap();
        let second = seal(b"second");
        let (plaintext, writes) = ours.keys.open(&name, &second, limit).unwrap().unwrap();
        assert_eq!(plaintext, b"second");
        ours.commit(writes);
        let again = ours.reloaded().keys.open(&name, &second, limit).unwrap();
        assert!(matches!(again, Err(SignalError::Duplicate { .. })));
    }

    #[test]
    fn key_holders_have_the_golden_form() {
        let devices = devices(2).iter().map(Jid::to_string).collect();
        let holders = KeyHolders { devices, group: None };
        crate::golden::check("key-holders-v1.hex", &encode(&holders));
        let holders = KeyHolders { group: Some(group().to_string()), ..holders };
        crate::golden::check("key-holders-v2.hex", &encode(&holders));
    }
}
