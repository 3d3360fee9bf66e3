//! An engine for tests: in memory, counting syncs and the rows that scans return, failing writes when told to.

use crate::base::ids::AccountKey;
use crate::storage::{Batch, Engine, MemoryEngine, Row, Rows, StorageError};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[derive(Default)]
pub(super) struct CountingEngine {
    inner: MemoryEngine,
    syncs: AtomicUsize,
    fails: AtomicBool,
    /// By code of the kind.
    scanned: Mutex<BTreeMap<u8, usize>>,
}

impl CountingEngine {
    pub(super) fn syncs(&self) -> usize {
        self.syncs.load(Ordering::SeqCst)
    }

    pub(super) fn fail_writes(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    /// Rows of this kind that scans have returned since the last call.
    pub(super) fn take_scanned(&self, kind: u8) -> usize {
        self.scanned.lock().unwrap().remove(&kind).unwrap_or_default()
    }
}

impl Engine for CountingEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.get(key)
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StorageError> {
        let rows = self.inner.scan(prefix, after, limit)?;
        if let Some(kind) = prefix.get(16) {
            *self.scanned.lock().unwrap().entry(*kind).or_default() += rows.len();
        }
        Ok(rows)
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
        if self.fails.load(Ordering::SeqCst) {
            return Err(StorageError::Engine { action: "write", why: "planted".into() });
        }
        self.inner.apply(batch)
    }
    fn sync(&self) -> Result<(), StorageError> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}
