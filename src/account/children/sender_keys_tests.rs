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

    fn commit(&mut self) {
        let writes = self.keys.take_writes();
        let (mut changes, mut batch) = (Changes::default(), Batch::default());
        changes.absorb(writes);
        changes.writes.into_iter().for_each(|write| self.records.stage(&mut batch, KEY, write).unwrap());
        self.records.engine().apply(batch).unwrap();
    }

    fn prepare(&mut self, devices: &[Jid], on_their_way: &[KeyDelivery]) -> (ChainId, Vec<Jid>) {
        let prepared = self.keys.prepare(&group(), devices, on_their_way).unwrap();
        self.commit();
        (prepared.chain, prepared.fresh)
    }

    fn mark(&mut self, chain: ChainId, devices: &[Jid]) {
        self.keys.add_holders(&group(), &KeyDelivery { chain, devices: devices.to_vec() }).unwrap();
        self.commit();
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
fn sender_key_goes_to_devices_that_lack_it_and_an_acknowledgement_makes_a_holder() {
    let mut it = Fixture::new();
    let (chain, fresh) = it.prepare(&devices(2), &[]);
    assert_eq!(fresh, devices(2));
    assert_eq!(it.prepare(&devices(2), &[]), (chain, devices(2)), "nothing was acknowledged");
    it.mark(chain, &devices(2));
    let mut it = it.reloaded();
    assert_eq!(it.prepare(&devices(3), &[]), (chain, devices(3)[2..].to_vec()));
    it.keys.remove_holder(&group(), &devices(2)[1]).unwrap();
    it.commit();
    assert_eq!(it.reloaded().prepare(&devices(2), &[]), (chain, devices(2)[1..].to_vec()));
}

#[test]
fn device_with_the_key_on_its_way_is_not_sent_it_again() {
    let mut it = Fixture::new();
    let (chain, fresh) = it.prepare(&devices(2), &[]);
    let on_its_way = [KeyDelivery { chain, devices: fresh }];
    assert_eq!(it.prepare(&devices(3), &on_its_way), (chain, devices(3)[2..].to_vec()));
    let of_an_old_key = [KeyDelivery { chain: ChainId(chain.0 ^ 1), devices: devices(2) }];
    assert_eq!(it.prepare(&devices(2), &of_an_old_key), (chain, devices(2)));
}

#[test]
fn sender_key_is_rotated_when_a_holder_has_left_and_after_a_thousand_messages() {
    let mut it = Fixture::new();
    let (first, _) = it.prepare(&devices(3), &[]);
    it.mark(first, &devices(3));
    let (second, fresh) = it.prepare(&devices(2), &[]);
    assert_ne!(first, second);
    assert_eq!(fresh, devices(2), "each remaining device gets the new one");
    it.mark(first, &devices(3));
    assert_eq!(it.prepare(&devices(2), &[]).1, devices(2), "a late acknowledgement makes no holder of the new key");
    it.mark(second, &devices(2));
    for _ in 0..MAX_MESSAGES {
        it.keys.encrypt(&group(), b"x").unwrap().unwrap();
        it.commit();
    }
    let mut it = it.reloaded();
    let (third, fresh) = it.prepare(&devices(2), &[]);
    assert_ne!(second, third);
    assert_eq!(fresh, devices(2));
}

#[test]
fn a_dropped_key_is_not_used_again_before_its_deletion_is_stored() {
    let mut it = Fixture::new();
    let (first, _) = it.prepare(&devices(1), &[]);
    it.mark(first, &devices(1));
    it.keys.forget_ours(&group());
    assert_eq!(it.keys.distribution(&group()).unwrap(), None);
    let (second, fresh) = it.prepare(&devices(1), &[]);
    assert_ne!(first, second);
    assert_eq!(fresh, devices(1));
    assert_eq!(it.reloaded().prepare(&devices(1), &[]).0, second);
}

#[test]
fn a_key_stays_in_memory_until_its_writes_are_stored_however_idle_its_group_is() {
    let mut it = Fixture::new();
    let chain = it.keys.prepare(&group(), &devices(1), &[]).unwrap().chain;
    let mut iterations = Vec::new();
    for _ in 0..2 {
        let encrypted = it.keys.encrypt(&group(), b"x").unwrap().expect("the new key is there");
        let message = SenderKeyMessage::parse(encrypted).unwrap();
        assert_eq!(message.chain_id, chain);
        iterations.push(message.iteration);
    }
    assert_eq!(iterations, [0, 1], "no message key is used twice");
    it.commit();
    assert!(it.keys.is_stored(&group()).unwrap());
}

#[test]
fn messages_of_a_member_decrypt_once_its_sender_key_is_known_and_after_a_restart() {
    let (mut ours, mut theirs) = (Fixture::new(), Fixture::new());
    theirs.prepare(&devices(1), &[]);
    let name = devices(1)[0].sender_key_name(&group());
    let mut encrypt =
        |text: &[u8]| SenderKeyMessage::parse(theirs.keys.encrypt(&group(), text).unwrap().unwrap()).unwrap();
    let limit = JumpLimit::default();
    let first = encrypt(b"first");
    let unknown = ours.keys.decrypt(&name, &first, limit).unwrap();
    assert!(matches!(unknown, Err(SignalError::UnknownSenderKey { .. })));
    let key = theirs.keys.distribution(&group()).unwrap().unwrap();
    // The distribution begins behind the first message.
    ours.keys.process_distribution(&name, &key).unwrap().unwrap();
    ours.commit();
    let mut ours = ours.reloaded();
    let mut encrypt =
        |text: &[u8]| SenderKeyMessage::parse(theirs.keys.encrypt(&group(), text).unwrap().unwrap()).unwrap();
    let second = encrypt(b"second");
    let plaintext = ours.keys.decrypt(&name, &second, limit).unwrap().unwrap();
    assert_eq!(plaintext, b"second");
    ours.commit();
    let again = ours.reloaded().keys.decrypt(&name, &second, limit).unwrap();
    assert!(matches!(again, Err(SignalError::Duplicate { .. })));
}

#[test]
fn reinstalled_member_lacks_the_sender_key_of_every_group_loaded_or_not() {
    let mut it = Fixture::new();
    let (chain, _) = it.prepare(&devices(2), &[]);
    it.mark(chain, &devices(2));
    let other = Jid::new("9", Server::Lid);
    let members = [devices(2), vec![other.clone()]].concat();
    it.mark(chain, std::slice::from_ref(&other));
    let mut it = it.reloaded();
    it.keys.forget_member(&[Jid::pn("15550000007"), Jid::new("7", Server::Lid)]).unwrap();
    assert_eq!(it.prepare(&members, &[]), (chain, devices(2)), "before its commit");
    let mut it = it.reloaded();
    assert_eq!(it.prepare(&members, &[]), (chain, devices(2)), "after a restart");
    it.mark(chain, &devices(2));
    assert_eq!(it.reloaded().prepare(&members, &[]), (chain, Vec::new()), "a new delivery counts");
}

#[test]
fn a_reset_reads_no_groups_list() {
    let mut it = Fixture::new();
    let (chain, _) = it.prepare(&devices(1), &[]);
    it.mark(chain, &devices(1));
    let mut it = it.reloaded();
    it.keys.forget_member(&devices(1)).unwrap();
    let writes = it.keys.take_writes();
    let mut changes = Changes::default();
    changes.absorb(writes);
    let kinds: Vec<u8> = changes.writes.iter().map(|write| write.kind).collect();
    assert_eq!(kinds, [kind::MEMBER_RESET.code(); 2], "the number, and the user");
}

#[test]
fn key_holders_have_the_golden_form() {
    let devices = devices(2).iter().map(Jid::to_string).collect();
    let holders = KeyHolders { devices, group: None, resets: None };
    crate::golden::check("key-holders-v1.hex", &encode(&holders));
    let holders = KeyHolders { group: Some(group().to_string()), ..holders };
    crate::golden::check("key-holders-v2.hex", &encode(&holders));
}
