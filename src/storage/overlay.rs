//! Overlay: an account reads its pending writes over the committed records.
//!
//! A turn is computed while the one before it is still being committed; its reads must see those writes. They are pinned
//! here from submission until the commit is done.

use super::StorageError;
use super::changes::Changes;
use super::engine::{Row, Rows};
use super::kinds::Kind;
use super::records::Records;
use crate::base::ids::AccountKey;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Pinned = HashMap<(u8, Vec<u8>), (u64, Option<Vec<u8>>)>;

/// Writes that are not yet durable, by turn.
#[derive(Clone, Default)]
pub struct Overlay(Arc<Mutex<Pinned>>);

impl Overlay {
    fn lock(&self) -> MutexGuard<'_, Pinned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pins a turn's writes.
    pub fn pin(&self, turn: u64, changes: &Changes) {
        let mut pinned = self.lock();
        for write in &changes.writes {
            pinned.insert((write.kind, write.key.clone()), (turn, write.value.clone()));
        }
    }

    /// Unpins the writes of turns up to this one, which is durable; those that a later turn has overwritten stay.
    pub fn release(&self, turn: u64) {
        self.lock().retain(|_, (pinned_by, _)| *pinned_by > turn);
    }

    fn scan(&self, kind: u8, prefix: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let pinned = self.lock();
        let wanted = pinned.iter().filter(|((of, key), _)| *of == kind && key.starts_with(prefix));
        wanted.map(|((_, key), (_, value))| (key.clone(), value.clone())).collect()
    }

    fn get(&self, kind: u8, key: &[u8]) -> Option<Option<Vec<u8>>> {
        self.lock().get(&(kind, key.to_vec())).map(|(_, value)| value.clone())
    }
}

/// Read access to one account's records.
#[derive(Clone)]
pub struct AccountStore {
    records: Records,
    account: AccountKey,
    overlay: Overlay,
}

impl AccountStore {
    pub fn new(records: Records, account: AccountKey, overlay: Overlay) -> Self {
        Self { records, account, overlay }
    }

    pub fn account(&self) -> AccountKey {
        self.account
    }

    pub fn get<O>(&self, kind: Kind<O>, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match self.overlay.get(kind.code(), key) {
            Some(pinned) => Ok(pinned),
            None => self.records.get(self.account, kind, key),
        }
    }

    /// All records of a kind whose keys begin with `prefix`, in order of their keys.
    pub fn scan<O>(&self, kind: Kind<O>, prefix: &[u8]) -> Result<Rows, StorageError> {
        let pinned = self.overlay.scan(kind.code(), prefix);
        let rows = self.records.scan(self.account, kind, prefix, None, usize::MAX)?;
        if pinned.is_empty() {
            return Ok(rows);
        }
        let mut merged: BTreeMap<_, _> = rows.into_iter().map(|(key, value)| (key, Some(value))).collect();
        merged.extend(pinned);
        Ok(merged.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    }

    /// Up to `limit` records of a kind after a key, as committed.
    pub fn page<O>(&self, kind: Kind<O>, after: Option<&[u8]>, limit: usize) -> Result<Rows, StorageError> {
        self.records.scan(self.account, kind, &[], after, limit)
    }

    /// The last record of a kind as committed.
    pub fn last<O>(&self, kind: Kind<O>) -> Result<Option<Row>, StorageError> {
        self.records.last(self.account, kind)
    }

    /// All records of a kind as committed: for loading, before any write is pending.
    pub fn load<O>(&self, kind: Kind<O>) -> Result<Rows, StorageError> {
        self.records.scan(self.account, kind, &[], None, usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Batch, ChangeSet, Engine, MemoryEngine, kind, owner};

    #[test]
    fn a_scan_merges_pending_writes_over_committed_rows() {
        let engine = Arc::new(MemoryEngine::default());
        let records = Records::new(engine.clone());
        let overlay = Overlay::default();
        let account = AccountKey::from_bytes([1; 16]);
        let store = AccountStore::new(records.clone(), account, overlay.clone());
        let changes = |rows: &[(&str, Option<&str>)]| {
            let mut set = ChangeSet::<owner::SessionCipher>::default();
            for (key, value) in rows {
                match value {
                    Some(value) => set.put(kind::SESSION, *key, *value),
                    None => set.delete(kind::SESSION, *key),
                }
            }
            let mut changes = Changes::default();
            changes.absorb(set);
            changes
        };
        let mut batch = Batch::default();
        for write in
            changes(&[("a1", Some("old")), ("a2", Some("kept")), ("a4", Some("gone")), ("b", Some("other"))]).writes
        {
            records.stage(&mut batch, account, write).unwrap();
        }
        engine.apply(batch).unwrap();
        overlay.pin(1, &changes(&[("a1", Some("new")), ("a3", Some("added")), ("a4", None), ("b2", Some("other"))]));
        let rows = store.scan(kind::SESSION, b"a").unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let rows: Vec<_> = rows.iter().map(|(key, value)| format!("{} {}", text(key), text(value))).collect();
        assert_eq!(rows, ["a1 new", "a2 kept", "a3 added"]);
    }

    #[test]
    fn a_pending_write_is_read_until_it_is_replaced_or_committed() {
        let records = Records::new(Arc::new(MemoryEngine::default()));
        let overlay = Overlay::default();
        let store = AccountStore::new(records, AccountKey::from_bytes([1; 16]), overlay.clone());
        let changes = |value: &str| {
            let mut set = ChangeSet::<owner::Connection>::default();
            set.put(kind::DESIRED_STATE, "", value);
            let mut changes = Changes::default();
            changes.absorb(set);
            changes
        };
        overlay.pin(1, &changes("one"));
        overlay.pin(2, &changes("two"));
        overlay.release(1);
        assert_eq!(store.get(kind::DESIRED_STATE, b"").unwrap().as_deref(), Some(&b"two"[..]));
        overlay.release(2);
        assert_eq!(store.get(kind::DESIRED_STATE, b"").unwrap(), None);
    }
}
