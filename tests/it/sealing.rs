//! The master key in its file: creation, replacement, a replacement after a crash; rotation of data keys.

use crate::served::{Served, until};
use wharf::app::Parts;
use wharf::base::ids::AccountKey;
use wharf::config::Config;
use wharf::operate::rotate_master_key;
use wharf::storage::{
    Batch, ChangeSet, Changes, Engine, MasterKey, MemoryEngine, Records, Ringed, Sealing, SledEngine, StorageError,
    change_master_key, kind, owner,
};

use rand::SeedableRng;
use rand::rngs::StdRng;
use std::path::Path;
use std::sync::Arc;

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";
const CACHE: u64 = 8 * 1024 * 1024;

fn engine(config: &Config) -> Result<Ringed<SledEngine>, StorageError> {
    let data = Path::new(&config.data);
    Ringed::open(SledEngine::open(data, CACHE)?, data)
}

fn records(config: &Config, key: &MasterKey) -> Result<Records, StorageError> {
    Records::open(Arc::new(engine(config)?), Some(Sealing::new(key.clone(), StdRng::seed_from_u64(1))))
}

fn read_key(path: &str) -> MasterKey {
    MasterKey::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A data folder with one record, sealed under the key in its file.
fn sealed_folder() -> (tempfile::TempDir, Config, MasterKey) {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { data: folder.path().join("data").display().to_string(), ..Config::default() };
    let old = MasterKey::generate(&mut StdRng::seed_from_u64(2));
    std::fs::write(config.master_key_file(), old.to_hex().as_str()).unwrap();
    {
        let records = records(&config, &old).unwrap();
        let mut set = ChangeSet::<owner::Server>::default();
        set.put(kind::META, "k", "sealed under the old key");
        let (mut changes, mut batch) = (Changes::default(), Batch::default());
        changes.absorb(set);
        changes.writes.into_iter().for_each(|write| records.stage(&mut batch, AccountKey::SERVER, write).unwrap());
        records.engine().apply(batch).unwrap();
        records.engine().sync().unwrap();
    }
    (folder, config, old)
}

fn value(config: &Config, key: &MasterKey) -> Option<Vec<u8>> {
    records(config, key).unwrap().get(AccountKey::SERVER, kind::META, b"k").unwrap()
}

#[test]
fn a_new_master_key_replaces_the_file_and_the_old_one_is_kept() {
    let (_folder, config, old) = sealed_folder();
    let (count, kept) = rotate_master_key(&config, None).unwrap();
    assert_eq!(count, 1);
    assert_eq!(read_key(&kept).id_hex(), old.id_hex());
    let new = read_key(&config.master_key_file());
    assert!(matches!(records(&config, &old).err(), Some(StorageError::WrongMasterKey { .. })));
    assert_eq!(value(&config, &new).as_deref(), Some(&b"sealed under the old key"[..]));
}

#[test]
fn a_replacement_interrupted_by_a_crash_is_finished_by_the_next_one() {
    for wrapped in [false, true] {
        let (_folder, config, old) = sealed_folder();
        let begun = MasterKey::generate(&mut StdRng::seed_from_u64(3));
        std::fs::write(format!("{}.new", config.master_key_file()), begun.to_hex().as_str()).unwrap();
        if wrapped {
            change_master_key(&engine(&config).unwrap(), &old, begun.clone(), StdRng::seed_from_u64(4)).unwrap();
        }
        rotate_master_key(&config, None).unwrap();
        assert_eq!(read_key(&config.master_key_file()).id_hex(), begun.id_hex());
        assert_eq!(value(&config, &begun).as_deref(), Some(&b"sealed under the old key"[..]));
    }
}

/// The bytes of all files in a folder.
fn everything(folder: &Path) -> Vec<u8> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { everything(&path) } else { std::fs::read(path).unwrap() }).collect()
}

/// The wrapped data keys of the folder, each of which is in its files.
fn wrapped(config: &Config) -> Vec<Vec<u8>> {
    let keys: Vec<_> = engine(config).unwrap().scan(&[], None, 99).unwrap();
    let keys: Vec<_> = keys.into_iter().filter(|(row, _)| row.get(16) == Some(&0x47)).map(|(_, key)| key).collect();
    assert!(!keys.is_empty() && keys.iter().all(|key| holds(config, key)));
    keys
}

fn holds(config: &Config, bytes: &[u8]) -> bool {
    everything(Path::new(&config.data)).windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn nothing_that_the_old_master_key_opens_is_left_in_the_folder_after_a_rotation() {
    let (_folder, config, _) = sealed_folder();
    let before = wrapped(&config);
    rotate_master_key(&config, None).unwrap();
    assert!(before.iter().all(|key| !holds(&config, key)));
    let before = wrapped(&config);
    wharf::operate::rotate_data_keys(&config, None).unwrap();
    assert!(before.iter().all(|key| !holds(&config, key)));
}

#[test]
fn data_keys_of_a_stopped_server_are_rotated_and_its_records_stay_readable() {
    let (_folder, config, key) = sealed_folder();
    assert_eq!(wharf::operate::rotate_data_keys(&config, None).unwrap(), 1);
    assert_eq!(value(&config, &key).as_deref(), Some(&b"sealed under the old key"[..]));
    let after = records(&config, &key).unwrap();
    let rows = after.engine().scan(&[], None, usize::MAX).unwrap();
    assert!(
        rows.iter().all(|(key, value)| key.len() < 17 || key[16] == 0x47 || value[0] == 2),
        "every value is sealed under the new key"
    );
}

#[actix_web::test]
async fn a_running_server_rotates_its_data_keys() {
    let engine = Arc::new(MemoryEngine::default());
    let it = Served::with(Parts { engine: Some(engine.clone()), ..Parts::default() }).await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(BOB).await;
    let under_the_first_key = || {
        let rows = engine.scan(&[], None, usize::MAX).unwrap();
        rows.iter().filter(|(key, value)| !matches!(key[16], 0x47 | 0x48) && value[0] == 1).count()
    };
    assert!(under_the_first_key() > 10);
    assert_eq!(it.client.post("/v1/admin/keys/rotate-data", serde_json::Value::Null).await.status, 202);
    it.client.try_send(it.client.text("alice", BOB, "meanwhile")).await.unwrap();
    until("every value is resealed", async || (under_the_first_key() == 0).then_some(())).await;
    until("the message is read", async || (it.client.read(BOB).await == ["meanwhile"]).then_some(())).await;
}
