use super::*;
use crate::storage::seal::{MasterKey, Sealing};
use crate::storage::{Engine, MemoryEngine, Row, Rows};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const BEFORE: &str = include_str!("../../migrations/0003-times/before.txt");
const AFTER: &str = "migrations/0003-times/after.txt";

fn parse(text: &str) -> Rows {
    let row = |line: &str| {
        let (key, value) = line.split_once(' ').unwrap();
        (hex::decode(key).unwrap(), hex::decode(value).unwrap())
    };
    text.lines().map(row).collect()
}

fn dump(engine: &dyn Engine) -> String {
    let rows = engine.scan(&[], None, usize::MAX).unwrap();
    rows.iter().map(|(key, value)| format!("{} {}\n", hex::encode(key), hex::encode(value))).collect()
}

fn filled() -> MemoryEngine {
    let engine = MemoryEngine::default();
    let writes = parse(BEFORE).into_iter().map(|(key, value)| (key, Some(value))).collect();
    engine.apply(Batch { writes, ..Batch::default() }).unwrap();
    engine
}

#[test]
fn format_2_is_migrated_to_format_3() {
    let records = Records::new(Arc::new(filled()));
    let planned = plan(&records).unwrap();
    assert_eq!(planned.iter().map(|step| (step.name, step.to, step.rows)).collect::<Vec<_>>(), [("0003-times", 3, 10)]);
    assert_eq!(migrate(&records, NOW).unwrap(), 10);
    let after = dump(records.engine());
    if std::env::var("WHARF_GOLDEN").as_deref() == Ok("write") {
        std::fs::write(AFTER, &after).unwrap();
    }
    assert_eq!(after, std::fs::read_to_string(AFTER).unwrap());
    assert_eq!(format_of(&records).unwrap(), Some(DATA_FORMAT));
    assert_eq!(plan(&records).unwrap(), [], "there is nothing left to do");
}

/// Fails every write after the first few.
struct FailsAfter {
    inner: Arc<MemoryEngine>,
    left: AtomicUsize,
}

impl Engine for FailsAfter {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.get(key)
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StorageError> {
        // Small pages, so that there are many places to be cut short at.
        self.inner.scan(prefix, after, limit.min(2))
    }
    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StorageError> {
        self.inner.last(prefix)
    }
    fn copy(&self, prefix: &[u8]) -> Result<Rows, StorageError> {
        self.inner.copy(prefix)
    }
    fn fence(&self, account: AccountKey, epoch: u64) -> Result<(), StorageError> {
        self.inner.fence(account, epoch)
    }
    fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
            return Err(StorageError::Engine { action: "write", why: "planted".into() });
        }
        self.inner.apply(batch)
    }
    fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

#[test]
fn an_interrupted_migration_resumes_where_it_stopped() {
    let wanted = parse(&std::fs::read_to_string(AFTER).unwrap());
    for writes in 0..12 {
        let inner = Arc::new(filled());
        let cut = FailsAfter { inner: inner.clone(), left: AtomicUsize::new(writes) };
        let cut_short = migrate(&Records::new(Arc::new(cut)), NOW).is_err();
        if cut_short {
            assert!(format_of(&Records::new(inner.clone())).unwrap() == Some(2), "not half a format");
            migrate(&Records::new(inner.clone()), NOW).unwrap();
        }
        assert_eq!(cut_short, writes < 7, "after {writes} writes");
        assert!(inner.scan(&[], None, usize::MAX).unwrap() == wanted, "after {writes} writes");
    }
}

#[test]
fn sealed_data_are_migrated_too() {
    let plain = Records::new(Arc::new(filled()));
    let sealing = Sealing::new(MasterKey::parse(&"5a".repeat(32)).unwrap(), StdRng::seed_from_u64(1));
    let sealed = Records::open(Arc::new(MemoryEngine::default()), Some(sealing)).unwrap();
    let account = plain.accounts().unwrap()[0];
    let mut batch = Batch::default();
    for (owner, kind) in [(AccountKey::SERVER, 0x45), (AccountKey::SERVER, 0x46), (account, 0x06), (account, 0x08)] {
        for (key, value) in plain.scan_code(owner, kind, &[], None, usize::MAX).unwrap() {
            sealed.stage_stored(&mut batch, owner, kind, &key, Some(value)).unwrap();
        }
    }
    sealed.engine().apply(batch).unwrap();
    migrate(&sealed, NOW).unwrap();
    migrate(&plain, NOW).unwrap();
    for kind in [0x06, 0x08] {
        let rows = |records: &Records| records.scan_code(account, kind, &[], None, usize::MAX).unwrap();
        assert!(!rows(&sealed).is_empty() && rows(&sealed) == rows(&plain));
    }
}

#[test]
fn newer_and_unreleased_formats_are_refused() {
    for format in [1u32, DATA_FORMAT + 1] {
        let records = Records::new(Arc::new(MemoryEngine::default()));
        commit(&records, Batch::default(), |meta| meta.put(kind::META, FORMAT, format.to_be_bytes())).unwrap();
        let refused = migrate(&records, NOW);
        assert!(matches!(refused, Err(StorageError::Format { found, .. }) if found == format), "{refused:?}");
    }
}

#[test]
fn a_malformed_row_is_named_in_the_error() {
    let engine = filled();
    let account = Records::new(Arc::new(filled())).accounts().unwrap()[0];
    let row = [&account.as_bytes()[..], &[0x06], &9u64.to_be_bytes()].concat();
    engine.apply(Batch { writes: [(row, Some(vec![0, 1, 200]))].into(), ..Batch::default() }).unwrap();
    let refused = migrate(&Records::new(Arc::new(engine)), NOW);
    assert!(matches!(refused, Err(StorageError::Corrupt { kind: 0x06, .. })), "{refused:?}");
}
