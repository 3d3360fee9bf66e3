use super::*;
use crate::base::ids::AccountKey;
use crate::signal::limits::MAX_PREKEY_ID;
use crate::signal::testing::rng;
use crate::storage::{Changes, MemoryEngine, Overlay, Records};
use std::sync::Arc;

struct Fixture {
    keys: PreKeys,
    overlay: Overlay,
    turn: u64,
}

impl Fixture {
    fn new() -> Self {
        let overlay = Overlay::default();
        let records = Records::new(Arc::new(MemoryEngine::default()));
        let store = AccountStore::new(records, AccountKey::from_bytes([1; 16]), overlay.clone());
        Self { keys: PreKeys::new(store, rng(1)), overlay, turn: 0 }
    }

    fn taken(&mut self) {
        let writes = self.keys.take_writes();
        self.commit(writes);
    }

    fn commit(&mut self, writes: Writes) {
        let mut changes = Changes::default();
        changes.absorb(writes);
        self.turn += 1;
        self.overlay.pin(self.turn, &changes);
    }

    fn generate(&mut self, count: u32) -> Vec<u32> {
        let keys = self.keys.generate(count).unwrap();
        self.taken();
        keys.into_iter().map(|(id, _)| id.get()).collect()
    }
}

#[test]
fn prekey_ids_continue_after_the_last_batch_and_wrap() {
    let mut it = Fixture::new();
    assert_eq!(it.generate(3), [1, 2, 3]);
    assert_eq!(it.generate(2), [4, 5]);
    let mut writes = Writes::default();
    writes.put(kind::PREKEY_MARKS, "", encode(&PreKeyMarks { next_id: Some(MAX_PREKEY_ID), ..PreKeyMarks::default() }));
    it.commit(writes);
    assert_eq!(it.generate(2), [MAX_PREKEY_ID, 1]);
}

#[test]
fn prekey_records_have_the_golden_form() {
    let block = PreKeyBlock { keys: vec![pre_key_block::Entry { id: Some(31), secret: Some(vec![1; 32]) }] };
    crate::golden::check("prekey-block-v1.hex", &encode(&block));
    let signed =
        SignedPreKey { id: Some(1), secret: Some(vec![2; 32]), signature: Some(vec![3; 64]), confirmed_at_ms: None };
    crate::golden::check("signed-prekey-v1.hex", &encode(&signed));
    let confirmed = SignedPreKey { confirmed_at_ms: Some(1_800_000_000_000), ..signed };
    crate::golden::check("signed-prekey-confirmed-v1.hex", &encode(&confirmed));
    crate::golden::check("prekey-marks-v1.hex", &encode(&PreKeyMarks { next_id: Some(813), ..PreKeyMarks::default() }));
}

#[test]
fn signed_prekey_is_rotated_every_27_days_and_the_last_three_are_kept() {
    let mut it = Fixture::new();
    let identity = IdentityKeyPair::generate(&mut rng(2));
    let first = it.keys.create_signed(&identity);
    it.taken();
    let mut now = Timestamp(0);
    let rotate = |it: &mut Fixture, now| match it.keys.rotate_signed(&identity, now).unwrap() {
        Rotation::NotBefore(due) => Err(due),
        Rotation::Upload(pair) => {
            it.taken();
            Ok(pair.id.get())
        }
    };
    assert_eq!(rotate(&mut it, now), Ok(1), "a signed prekey that the service never accepted is uploaded again");
    for id in 2..=5 {
        let newest = it.keys.current_signed().unwrap().id;
        it.keys.confirm_signed(newest.next(), now).unwrap();
        assert!(it.keys.take_writes().is_empty(), "the response to another upload does not confirm this one");
        it.keys.confirm_signed(newest, now).unwrap();
        it.taken();
        let due = now.plus(ROTATION_PERIOD);
        assert_eq!(rotate(&mut it, now), Err(due));
        now = due;
        assert_eq!(rotate(&mut it, now), Ok(id));
        assert_eq!(it.keys.current_signed().unwrap().id.get(), id);
    }
    let kept: Vec<_> = it.keys.all_signed().unwrap().iter().map(|(pair, _)| pair.id.get()).collect();
    assert_eq!(kept, [3, 4, 5]);
    assert!(it.keys.lookup(first.id, None).unwrap().is_err());
    let old = SignedPreKeyId::new(3).unwrap();
    assert!(it.keys.lookup(old, None).unwrap().is_ok(), "messages under the old one may be under way");
}

#[test]
fn the_newest_signed_prekey_is_known_across_the_wrap_of_its_id() {
    let mut it = Fixture::new();
    let identity = IdentityKeyPair::generate(&mut rng(2));
    let last = SignedPreKeyPair::generate(SignedPreKeyId::new(MAX_PREKEY_ID).unwrap(), &identity, &mut rng(3));
    let mut writes = Writes::default();
    put_signed(&mut writes, &last, Some(Timestamp(0)));
    it.commit(writes);
    let later = Timestamp(0).plus(ROTATION_PERIOD);
    let Rotation::Upload(next) = it.keys.rotate_signed(&identity, later).unwrap() else { panic!("due") };
    it.taken();
    assert_eq!((next.id.get(), it.keys.current_signed().unwrap().id.get()), (1, 1));
}

#[test]
fn consumed_prekey_is_deleted_and_its_neighbours_stay() {
    let mut it = Fixture::new();
    let identity = IdentityKeyPair::generate(&mut rng(2));
    let signed = it.keys.create_signed(&identity);
    it.taken();
    it.generate(40);
    let id = |n| PreKeyId::new(n).unwrap();
    let found = it.keys.lookup(signed.id, Some(id(7))).unwrap().unwrap().1.unwrap();
    assert_eq!(found.id, id(7));
    it.keys.consume(id(7)).unwrap();
    it.taken();
    assert_eq!(it.keys.lookup(signed.id, Some(id(7))).unwrap().err(), Some(SignalError::UnknownPreKey { id: 7 }));
    assert!(it.keys.lookup(signed.id, Some(id(8))).unwrap().is_ok());
}
