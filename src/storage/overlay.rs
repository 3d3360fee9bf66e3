//! Overlay: an account reads its pending writes over the committed records, and the last rows of some kinds without the store.
//!
//! Invariant: only the turns of one tree write the account's records while it runs, so what they have read or written stays true.
//!
//! A turn is computed while the one before it is still being committed; its reads must see those writes. They are pinned
//! here from submission until the commit is done.

use super::StorageError;
use super::changes::Changes;
use super::engine::{Row, Rows};
use super::kinds::{Kind, is_reread};
use super::records::Records;
use crate::base::ids::AccountKey;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Key = (u8, Vec<u8>);

/// Most rows of an account, and longest of them, that are kept after they were read or written.
const MAX_RECENT: usize = 64;
const MAX_RECENT_VALUE: usize = 1024;

#[derive(Default)]
struct Held {
    /// Writes that are not yet durable, with their turn.
    pinned: HashMap<Key, (u64, Option<Vec<u8>>)>,
    /// Rows as they are stored, of kinds that are read again soon. `None` where not all writes are pinned.
    recent: Option<HashMap<Key, Option<Vec<u8>>>>,
}

impl Held {
    fn keep(&mut self, key: Key, value: Option<Vec<u8>>) {
        let Some(recent) = &mut self.recent else { return };
        if value.as_ref().is_some_and(|value| value.len() > MAX_RECENT_VALUE) {
            recent.remove(&key);
            return;
        }
        if recent.len() >= MAX_RECENT {
            recent.clear();
        }
        recent.insert(key, value);
    }
}

/// Writes of an account that are not yet durable, by turn, and what was read or written last.
#[derive(Clone, Default)]
pub struct Overlay(Arc<Mutex<Held>>);

impl Overlay {
    /// Keeps what was read or written last; for an account of which every write is pinned.
    pub fn keeping() -> Self {
        Self(Arc::new(Mutex::new(Held { recent: Some(HashMap::new()), ..Held::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pins a turn's writes.
    pub fn pin(&self, turn: u64, changes: &Changes) {
        let mut rows = self.lock();
        for write in &changes.writes {
            rows.pinned.insert((write.kind, write.key.clone()), (turn, write.value.clone()));
        }
    }

    /// Unpins the writes of turns up to this one, which is durable; those that a later turn has overwritten stay.
    pub fn release(&self, turn: u64) {
        let mut rows = self.lock();
        let durable: Vec<_> = rows.pinned.extract_if(|_, (pinned_by, _)| *pinned_by <= turn).collect();
        for (key, (_, value)) in durable.into_iter().filter(|((kind, _), _)| is_reread(*kind)) {
            rows.keep(key, value);
        }
    }

    /// Forgets what was read and written, but for the writes that are not yet durable.
    pub fn rest(&self) {
        if let Some(recent) = &mut self.lock().recent {
            *recent = HashMap::new();
        }
    }

    fn scan(&self, kind: u8, prefix: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let rows = self.lock();
        let wanted = rows.pinned.iter().filter(|((of, key), _)| *of == kind && key.starts_with(prefix));
        wanted.map(|((_, key), (_, value))| (key.clone(), value.clone())).collect()
    }

    fn get(&self, key: &Key) -> Option<Option<Vec<u8>>> {
        let rows = self.lock();
        let pinned = rows.pinned.get(key).map(|(_, value)| value);
        pinned.or_else(|| rows.recent.as_ref()?.get(key)).cloned()
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
        let place = (kind.code(), key.to_vec());
        if let Some(held) = self.overlay.get(&place) {
            return Ok(held);
        }
        let stored = self.records.get(self.account, kind, key)?;
        if is_reread(place.0) {
            self.overlay.lock().keep(place, stored.clone());
        }
        Ok(stored)
    }

    /// Drops from memory what can be read again.
    pub fn rest(&self) {
        self.overlay.rest();
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

    #[test]
    fn messages_are_read_again_without_the_store_until_the_account_rests() {
        let engine = Arc::new(MemoryEngine::default());
        let store =
            AccountStore::new(Records::new(engine.clone()), AccountKey::from_bytes([1; 16]), Overlay::keeping());
        let write = |value: Option<&[u8]>| {
            let mut set = ChangeSet::<owner::Messages>::default();
            match value {
                Some(value) => set.put(kind::MESSAGE, "id", value),
                None => set.delete(kind::MESSAGE, "id"),
            }
            let mut changes = Changes::default();
            changes.absorb(set);
            store.overlay.pin(1, &changes);
            store.overlay.release(1);
        };
        let read = || store.get(kind::MESSAGE, b"id").unwrap();
        write(Some(b"sent"));
        assert_eq!(read().as_deref(), Some(&b"sent"[..]));
        write(None);
        assert_eq!(read(), None);
        write(Some(&[7; MAX_RECENT_VALUE + 1]));
        assert_eq!(read(), None, "a long one is read from the store");
        write(Some(b"read"));
        store.rest();
        assert_eq!(read(), None, "nothing was stored");
    }
}
