//! The engine in memory, for tests and for servers that need no persistence.

use super::StorageError;
use super::engine::{Batch, Engine, Fences, Row, Rows};
use crate::base::ids::AccountKey;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
pub struct MemoryEngine {
    map: RwLock<Map>,
    fences: Fences,
}

impl MemoryEngine {
    /// A reader's panic cannot leave the map half written, so a poisoned lock is still good.
    fn read(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for MemoryEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.read().get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StorageError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        let map = self.read();
        let rows = map.range((start, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(prefix));
        Ok(rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StorageError> {
        let map = self.read();
        let end = [prefix, &[0xff; 64]].concat();
        let last = map.range(prefix.to_vec()..=end).next_back();
        Ok(last.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn copy(&self, prefix: &[u8]) -> Result<Rows, StorageError> {
        self.scan(prefix, None, usize::MAX)
    }

    fn fence(&self, account: AccountKey, epoch: u64) -> Result<(), StorageError> {
        self.fences.raise(account, epoch)
    }

    fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        self.fences.check(&batch)?;
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in batch.writes {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }
}
