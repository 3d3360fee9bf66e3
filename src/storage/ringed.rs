//! An engine whose wrapped data keys stand in the key ring (`key_ring.rs`), and in no row of the store; it shows them as rows.
//!
//! Invariant: a new key is in the ring before anything that it seals is in the store, and a key leaves the ring after what it sealed has
//! left the store.

use super::StorageError;
use super::engine::{Batch, Engine, Row, Rows};
use super::key_ring::{KeyRing, Keys};
use super::seal::data_key_prefix;
use crate::base::ids::AccountKey;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock};

pub struct Ringed<E> {
    engine: E,
    ring: KeyRing,
    keys: RwLock<Keys>,
    /// Keys that are deleted, and leave the ring with the next sync.
    leaving: Mutex<Keys>,
    prefix: Vec<u8>,
}

impl<E: Engine> Ringed<E> {
    /// Opens a store with the ring in its folder; keys of a store without one move into it.
    pub fn open(engine: E, folder: &Path) -> Result<Self, StorageError> {
        let (ring, prefix) = (KeyRing::of(folder), data_key_prefix());
        let mut keys = ring.read()?;
        let rows = engine.scan(&prefix, None, usize::MAX)?;
        if !rows.is_empty() {
            let writes = rows.iter().map(|(row, _)| (row.clone(), None)).collect();
            for (row, wrapped) in rows {
                keys.entry(row).or_insert(wrapped);
            }
            ring.write(&keys)?;
            engine.apply(Batch { writes, ..Batch::default() })?;
            engine.sync()?;
            tracing::warn!(
                "data keys moved into the key ring; their older copies leave the store with wharf storage compact"
            );
        }
        Ok(Self { engine, ring, keys: RwLock::new(keys), leaving: Mutex::default(), prefix })
    }

    /// The store without the ring.
    pub const fn store(&self) -> &E {
        &self.engine
    }

    /// Copies the ring into the folder of a store that has the same rows.
    pub fn copy_ring(&self, folder: &Path) -> Result<(), StorageError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if keys.is_empty() { Ok(()) } else { KeyRing::of(folder).write(&keys) }
    }

    /// Whether rows with this prefix may be keys.
    fn concerns(&self, prefix: &[u8]) -> bool {
        prefix.starts_with(&self.prefix) || self.prefix.starts_with(prefix)
    }

    /// At most `limit` keys whose rows begin with `prefix` and come after `after`.
    fn keys_of(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Rows {
        let start = match after.filter(|after| *after >= prefix) {
            Some(after) => Bound::Excluded(after.to_vec()),
            None => Bound::Included(prefix.to_vec()),
        };
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let found = keys.range((start, Bound::Unbounded)).take_while(|(row, _)| row.starts_with(prefix)).take(limit);
        found.map(|(row, wrapped)| (row.clone(), wrapped.clone())).collect()
    }

    /// Takes the keys out of a batch: new ones are in the ring when this returns.
    fn take_keys(&self, batch: &mut Batch) -> Result<(), StorageError> {
        let of_keys = batch.writes.range(self.prefix.clone()..).take_while(|(row, _)| row.starts_with(&self.prefix));
        let rows: Vec<_> = of_keys.map(|(row, _)| row.clone()).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let mut is_new = false;
        for row in rows {
            match batch.writes.remove(&row).flatten() {
                Some(wrapped) => {
                    leaving.remove(&row);
                    is_new |= keys.insert(row, wrapped.clone()) != Some(wrapped);
                }
                None => {
                    let gone = keys.remove(&row);
                    leaving.extend(gone.map(|wrapped| (row, wrapped)));
                }
            }
        }
        if is_new {
            let all = keys.iter().chain(&*leaving).map(|(row, wrapped)| (row.clone(), wrapped.clone()));
            self.ring.write(&all.collect())?;
        }
        Ok(())
    }
}

impl<E: Engine> Engine for Ringed<E> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        match key.starts_with(&self.prefix) {
            true => Ok(self.keys.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()),
            false => self.engine.get(key),
        }
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StorageError> {
        let mut rows = self.engine.scan(prefix, after, limit)?;
        if self.concerns(prefix) {
            rows.extend(self.keys_of(prefix, after, limit));
            rows.sort();
            rows.truncate(limit);
        }
        Ok(rows)
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StorageError> {
        let row = self.engine.last(prefix)?;
        let key = if self.concerns(prefix) { self.keys_of(prefix, None, usize::MAX).pop() } else { None };
        Ok(row.max(key))
    }

    fn copy(&self, prefix: &[u8]) -> Result<Rows, StorageError> {
        let mut rows = self.engine.copy(prefix)?;
        if self.concerns(prefix) {
            rows.extend(self.keys_of(prefix, None, usize::MAX));
            rows.sort();
        }
        Ok(rows)
    }

    fn fence(&self, account: AccountKey, epoch: u64) -> Result<(), StorageError> {
        self.engine.fence(account, epoch)
    }

    fn apply(&self, mut batch: Batch) -> Result<(), StorageError> {
        self.take_keys(&mut batch)?;
        self.engine.apply(batch)
    }

    fn sync(&self) -> Result<(), StorageError> {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        self.engine.sync()?;
        if !leaving.is_empty() {
            self.ring.write(&self.keys.read().unwrap_or_else(PoisonError::into_inner))?;
            leaving.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryEngine;

    fn key(account: u8) -> Vec<u8> {
        [&data_key_prefix()[..], &[account; 16]].concat()
    }

    fn batch(writes: &[(&[u8], Option<u8>)]) -> Batch {
        let writes = writes.iter().map(|(key, value)| (key.to_vec(), value.map(|value| vec![value])));
        Batch { writes: writes.collect(), ..Batch::default() }
    }

    fn open(folder: &Path) -> Ringed<MemoryEngine> {
        Ringed::open(MemoryEngine::default(), folder).unwrap()
    }

    #[test]
    fn keys_are_shown_as_rows_and_stand_in_the_ring_alone() {
        let folder = tempfile::tempdir().unwrap();
        let it = open(folder.path());
        it.apply(batch(&[(&key(1), Some(1)), (&key(2), Some(2)), (&[0; 16], Some(3)), (&[9], Some(4))])).unwrap();
        let rows = vec![(vec![0; 16], vec![3]), (key(1), vec![1]), (key(2), vec![2]), (vec![9], vec![4])];
        assert_eq!(it.scan(&[], None, 9).unwrap(), rows);
        assert_eq!(it.scan(&[], Some(&rows[0].0), 2).unwrap(), rows[1..3]);
        assert_eq!(it.scan(&data_key_prefix(), Some(&key(1)), 9).unwrap(), rows[2..3]);
        assert_eq!(it.copy(&[0; 16]).unwrap(), rows[..3]);
        assert_eq!(it.last(&data_key_prefix()).unwrap().as_ref(), Some(&rows[2]));
        assert_eq!(it.get(&key(1)).unwrap(), Some(vec![1]));
        assert_eq!(it.store().scan(&[], None, 9).unwrap().len(), 2);
    }

    #[test]
    fn a_new_key_is_in_the_ring_before_its_rows_are_synced_and_a_deleted_one_until_then() {
        let folder = tempfile::tempdir().unwrap();
        let it = open(folder.path());
        let known = || open(folder.path()).scan(&data_key_prefix(), None, 9).unwrap().len();
        it.apply(batch(&[(&key(1), Some(1)), (&key(2), Some(2))])).unwrap();
        assert_eq!(known(), 2);
        it.apply(batch(&[(&key(1), None)])).unwrap();
        it.apply(batch(&[(&key(3), Some(3))])).unwrap();
        assert_eq!((it.get(&key(1)).unwrap(), known()), (None, 3));
        it.sync().unwrap();
        assert_eq!(known(), 2);
    }

    #[test]
    fn keys_of_an_older_store_move_into_the_ring() {
        let folder = tempfile::tempdir().unwrap();
        let older = MemoryEngine::default();
        older.apply(batch(&[(&key(1), Some(1)), (&[9], Some(4))])).unwrap();
        let it = Ringed::open(older, folder.path()).unwrap();
        assert_eq!(it.get(&key(1)).unwrap(), Some(vec![1]));
        assert_eq!(it.store().scan(&[], None, 9).unwrap(), [(vec![9], vec![4])]);
        assert_eq!(open(folder.path()).get(&key(1)).unwrap(), Some(vec![1]));
    }
}
