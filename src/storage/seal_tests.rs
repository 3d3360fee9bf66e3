use super::*;
use crate::storage::{ChangeSet, Changes, MemoryEngine, Records, Rotation, owner};
use rand::SeedableRng;

const ACCOUNT: AccountKey = AccountKey::from_bytes([0x81; 16]);
const NUMBER: &str = "15550001111@c.us.0";

fn master(seed: u64) -> MasterKey {
    MasterKey::generate(&mut StdRng::seed_from_u64(seed))
}

fn open(engine: &Arc<MemoryEngine>, seed: u64) -> Result<Records, StorageError> {
    Records::open(engine.clone(), Some(Sealing::new(master(seed), StdRng::seed_from_u64(seed + 100))))
}

fn commit(records: &Records, account: AccountKey, key: &str, value: Option<&[u8]>) {
    let mut set = ChangeSet::<owner::SessionCipher>::default();
    match value {
        Some(value) => set.put(kind::SESSION, key, value),
        None => set.delete(kind::SESSION, key),
    }
    let mut changes = Changes::default();
    changes.absorb(set);
    let mut batch = Batch::default();
    for write in changes.writes {
        records.stage(&mut batch, account, write).unwrap();
    }
    records.engine().apply(batch).unwrap();
}

fn get(records: &Records, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
    records.get(ACCOUNT, kind::SESSION, key.as_bytes())
}

/// An engine with a server record, as every server writes at its first start, and one of an account.
fn filled() -> (Arc<MemoryEngine>, Records) {
    let engine = Arc::new(MemoryEngine::default());
    let records = open(&engine, 1).unwrap();
    commit(&records, AccountKey::SERVER, "server", Some(b"first start"));
    commit(&records, ACCOUNT, NUMBER, Some(b"a secret of five thousand words"));
    (engine, records)
}

#[test]
fn no_plaintext_value_or_name_is_in_the_store() {
    let (engine, records) = filled();
    let long = vec![b"long secret ".as_slice(); 1000].concat();
    commit(&records, ACCOUNT, NUMBER, Some(&long));
    let rows = engine.scan(&[], None, usize::MAX).unwrap();
    let everything: Vec<u8> = rows.iter().flat_map(|(key, value)| [key.as_slice(), value].concat()).collect();
    for secret in ["secret", "words", "15550001111", "c.us", "first start"] {
        assert!(!everything.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
    }
    assert!(rows.iter().all(|(_, value)| value.len() <= crate::storage::records::MAX_VALUE));
    assert_eq!(get(&records, NUMBER).unwrap().unwrap(), long);
}

#[test]
fn sealed_values_are_read_after_a_restart_and_can_be_deleted() {
    let (engine, _) = filled();
    let records = open(&engine, 1).unwrap();
    assert_eq!(get(&records, NUMBER).unwrap().as_deref(), Some(&b"a secret of five thousand words"[..]));
    commit(&records, ACCOUNT, NUMBER, None);
    assert_eq!(get(&records, NUMBER).unwrap(), None);
    assert_eq!(engine.scan(ACCOUNT.as_bytes(), None, 9).unwrap(), []);
}

#[test]
fn parts_of_a_named_record_are_found_by_its_name() {
    let (_, records) = filled();
    for part in ["\0a", "\0b"] {
        commit(&records, ACCOUNT, &format!("{NUMBER}{part}"), Some(part.as_bytes()));
    }
    commit(&records, ACCOUNT, "15550002222@c.us.0\0a", Some(b"another's"));
    let prefix = format!("{NUMBER}\0");
    let rows = records.scan(ACCOUNT, kind::SESSION, prefix.as_bytes(), None, 9).unwrap();
    let keys: Vec<_> = rows.iter().map(|(key, value)| (&key[prefix.len()..], &value[..])).collect();
    assert_eq!(keys, [(&b"a"[..], &b"\0a"[..]), (b"b", b"\0b")]);
}

#[test]
fn an_altered_value_is_corrupt_and_named_by_its_key() {
    let (engine, records) = filled();
    let (row, value) = engine.scan(ACCOUNT.as_bytes(), None, 1).unwrap().remove(0);
    for bit in 0..8 * value.len() {
        let mut altered = value.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        engine.apply(Batch { writes: [(row.clone(), Some(altered))].into(), ..Batch::default() }).unwrap();
        match get(&records, NUMBER) {
            Err(StorageError::Corrupt { kind: 0x10, key, .. }) => assert_eq!(key, hex::encode(&row[17..])),
            other => panic!("bit {bit}: {other:?}"),
        }
    }
}

#[test]
fn a_value_moved_to_another_key_is_corrupt() {
    let (engine, records) = filled();
    commit(&records, ACCOUNT, "15550002222@c.us.0", Some(b"another's"));
    let rows = engine.scan(ACCOUNT.as_bytes(), None, 2).unwrap();
    let swapped = [(rows[0].0.clone(), Some(rows[1].1.clone())), (rows[1].0.clone(), Some(rows[0].1.clone()))];
    engine.apply(Batch { writes: swapped.into(), ..Batch::default() }).unwrap();
    assert!(matches!(get(&records, NUMBER), Err(StorageError::Corrupt { .. })));
}

#[test]
fn a_wrong_master_key_is_refused_at_startup_and_both_ids_are_named() {
    let (engine, _) = filled();
    let refused = open(&engine, 2).err();
    let id = |seed| hex::encode(master(seed).id());
    match refused {
        Some(StorageError::WrongMasterKey { given, needed }) => assert_eq!((given, needed), (id(2), id(1))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sealed_and_unsealed_data_are_not_mistaken_for_each_other() {
    let (engine, _) = filled();
    assert!(matches!(Records::open(engine, None).err(), Some(StorageError::Sealed)));
    let engine = Arc::new(MemoryEngine::default());
    commit(&Records::open(engine.clone(), None).unwrap(), ACCOUNT, NUMBER, Some(b"as it is"));
    assert!(matches!(open(&engine, 1).err(), Some(StorageError::NotSealed)));
}

#[test]
fn after_rewrapping_only_the_new_master_key_opens_the_data() {
    let (engine, _) = filled();
    let before = engine.scan(ACCOUNT.as_bytes(), None, 9).unwrap();
    let count = change_master_key(&*engine, &master(1), master(2), StdRng::seed_from_u64(3)).unwrap();
    assert_eq!(count, 2, "of the server and of the account");
    assert_eq!(engine.scan(ACCOUNT.as_bytes(), None, 9).unwrap(), before, "no value was touched");
    let records = open(&engine, 2).unwrap();
    assert_eq!(get(&records, NUMBER).unwrap().as_deref(), Some(&b"a secret of five thousand words"[..]));
    assert!(matches!(open(&engine, 1).err(), Some(StorageError::WrongMasterKey { .. })));
    let again = change_master_key(&*engine, &master(1), master(3), StdRng::seed_from_u64(3));
    assert!(matches!(again, Err(StorageError::WrongMasterKey { .. })));
}

/// The sealed form of a fixed value under fixed keys and a fixed generator.
#[test]
fn sealed_rows_have_the_golden_form() {
    let (engine, _) = filled();
    let rows = engine.scan(&[], None, 9).unwrap();
    let lines: Vec<_> =
        rows.iter().map(|(key, value)| format!("{} {}", hex::encode(key), hex::encode(value))).collect();
    crate::golden::check_text("sealed-v1.txt", &lines.join("\n"));
}

#[test]
fn a_master_key_round_trips_as_hex_and_is_not_printed() {
    let key = master(1);
    assert_eq!(MasterKey::parse(&format!(" {}\n", *key.to_hex())).unwrap().id(), key.id());
    assert!(MasterKey::parse("beef").is_none());
    assert!(!format!("{key:?}").contains(&key.to_hex()[..8]));
}

/// Makes the steps of a rotation, each a commit; at most so many.
fn rotate(records: &Records, account: AccountKey, steps: usize) -> bool {
    let mut step = Some(Rotation::Begin);
    for _ in 0..steps {
        let Some(next) = step else { return true };
        let mut batch = Batch::default();
        step = records.rotate_data_key(&mut batch, account, next).unwrap();
        records.engine().apply(batch).unwrap();
    }
    step.is_none()
}

fn key_numbers(engine: &MemoryEngine) -> Vec<Option<u32>> {
    let rows = engine.scan(ACCOUNT.as_bytes(), None, usize::MAX).unwrap();
    rows.iter().map(|(_, sealed)| key_of(sealed).map(|(id, _)| id)).collect()
}

#[test]
fn a_rotation_reseals_every_value_and_keeps_hashed_names() {
    let (engine, records) = filled();
    let long = vec![7; 9000];
    commit(&records, ACCOUNT, "15550002222@c.us.0", Some(&long));
    for round in 1..=2 {
        assert!(rotate(&records, ACCOUNT, 9));
        assert!(key_numbers(&engine).iter().all(|id| *id == Some(round)), "round {round}");
        assert_eq!(get(&records, NUMBER).unwrap().as_deref(), Some(&b"a secret of five thousand words"[..]));
    }
    let reopened = open(&engine, 1).unwrap();
    assert_eq!(get(&reopened, "15550002222@c.us.0").unwrap(), Some(long));
    assert!(!reopened.is_rotating(ACCOUNT).unwrap());
    assert_eq!(
        reopened.get(AccountKey::SERVER, kind::SESSION, b"server").unwrap().as_deref(),
        Some(&b"first start"[..])
    );
}

#[test]
fn an_interrupted_rotation_is_finished_with_the_key_it_added() {
    for steps in 0..6 {
        let (engine, records) = filled();
        for number in 0..600 {
            commit(&records, ACCOUNT, &format!("{number}@c.us.0"), Some(b"value"));
        }
        let was_done = rotate(&records, ACCOUNT, steps);
        let records = open(&engine, 1).unwrap();
        commit(&records, ACCOUNT, "written meanwhile", Some(b"value"));
        assert_eq!(records.is_rotating(ACCOUNT).unwrap(), !was_done && steps > 0);
        if records.is_rotating(ACCOUNT).unwrap() {
            assert!(rotate(&records, ACCOUNT, 9));
            assert!(key_numbers(&engine).iter().all(|id| *id == Some(1)), "after {steps} steps");
        }
        for number in 0..600 {
            assert_eq!(get(&records, &format!("{number}@c.us.0")).unwrap().as_deref(), Some(&b"value"[..]));
        }
    }
}

#[test]
fn values_sealed_under_a_rotated_key_have_the_golden_form() {
    let (engine, records) = filled();
    rotate(&records, ACCOUNT, 9);
    let rows = engine.scan(&[], None, usize::MAX).unwrap();
    let lines: Vec<_> =
        rows.iter().map(|(key, value)| format!("{} {}", hex::encode(key), hex::encode(value))).collect();
    crate::golden::check_text("sealed-rotated-v1.txt", &lines.join("\n"));
}

#[test]
fn the_master_key_can_be_replaced_during_a_data_key_rotation() {
    let (engine, records) = filled();
    rotate(&records, ACCOUNT, 1);
    change_master_key(&*engine, &master(1), master(2), StdRng::seed_from_u64(9)).unwrap();
    let records = open(&engine, 2).unwrap();
    assert!(rotate(&records, ACCOUNT, 9));
    assert!(get(&records, NUMBER).unwrap().is_some());
}
