//! The interface of storage engines; `conformance.rs` is the suite that every engine passes.

use super::StorageError;
use crate::base::ids::AccountKey;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);
/// In order of their keys.
pub type Rows = Vec<Row>;

/// Writes by full key; the last to a key counts, and `None` deletes.
#[derive(Default)]
pub struct Batch {
    pub writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// The epochs that accounts are written under. The whole batch is refused when an account is fenced with a higher one.
    pub epochs: BTreeMap<AccountKey, u64>,
}

/// An ordered store of bytes. One thread writes; any thread reads.
pub trait Engine: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// At most `limit` rows whose keys begin with `prefix` and come after `after`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StorageError>;

    /// The last row whose key begins with `prefix`.
    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StorageError>;

    /// All rows whose keys begin with `prefix`, as they were between two batches.
    fn copy(&self, prefix: &[u8]) -> Result<Rows, StorageError>;

    /// Refuses later writes of this account under a lower epoch. Fails when the account is fenced with a higher one already.
    fn fence(&self, account: AccountKey, epoch: u64) -> Result<(), StorageError>;

    /// Applies the batch atomically. It need not be durable before [`sync`](Self::sync).
    fn apply(&self, batch: Batch) -> Result<(), StorageError>;

    /// Makes all applied batches durable: they survive a crash of the machine.
    fn sync(&self) -> Result<(), StorageError>;
}

impl<E: Engine + ?Sized> Engine for Arc<E> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        (**self).get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StorageError> {
        (**self).scan(prefix, after, limit)
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StorageError> {
        (**self).last(prefix)
    }

    fn copy(&self, prefix: &[u8]) -> Result<Rows, StorageError> {
        (**self).copy(prefix)
    }

    fn fence(&self, account: AccountKey, epoch: u64) -> Result<(), StorageError> {
        (**self).fence(account, epoch)
    }

    fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        (**self).apply(batch)
    }

    fn sync(&self) -> Result<(), StorageError> {
        (**self).sync()
    }
}

/// Fences in memory, for an engine that only this process writes to.
#[derive(Default)]
pub(super) struct Fences(Mutex<HashMap<AccountKey, u64>>);

impl Fences {
    pub(super) fn raise(&self, account: AccountKey, epoch: u64) -> Result<(), StorageError> {
        let mut fences = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fence = fences.entry(account).or_default();
        if *fence > epoch {
            return Err(StorageError::Fenced);
        }
        *fence = epoch;
        Ok(())
    }

    pub(super) fn check(&self, batch: &Batch) -> Result<(), StorageError> {
        let fences = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fenced = |(account, epoch): (&AccountKey, &u64)| fences.get(account).is_some_and(|fence| fence > epoch);
        match batch.epochs.iter().any(is_fenced) {
            true => Err(StorageError::Fenced),
            false => Ok(()),
        }
    }
}
