//! Records over an engine: keys with their prefix, long values in chunks.
//!
//! sled puts large values into files that it never syncs, so no value in the engine exceeds [`MAX_VALUE`]: longer ones are
//! cut into chunk rows beside the record, in the same batch.

use super::StorageError;
use super::changes::Write;
use super::engine::{Batch, Engine, Row, Rows};
use super::kinds::{Kind, kind};
use crate::base::ids::AccountKey;
use std::sync::Arc;

/// The largest value that an engine gets, its marker byte included.
pub const MAX_VALUE: usize = 4096;
const PART: usize = MAX_VALUE - 1;
const INLINE: u8 = 0;
const CHUNKED: u8 = 1;

/// Read access to all records, and the translation of writes into engine batches.
#[derive(Clone)]
pub struct Records {
    engine: Arc<dyn Engine>,
}

impl Records {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine }
    }

    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    pub fn get<O>(&self, account: AccountKey, kind: Kind<O>, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.get_raw(account, kind.code(), key)
    }

    pub(super) fn get_raw(&self, account: AccountKey, kind: u8, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let stored = self.engine.get(&full_key(account, kind, key))?;
        stored.map(|stored| self.unwrap(account, kind, key, stored)).transpose()
    }

    /// Up to `limit` records of a kind in order of their keys, those with `prefix` that come after `after`.
    pub fn scan<O>(
        &self,
        account: AccountKey,
        kind: Kind<O>,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Rows, StorageError> {
        let head = full_key(account, kind.code(), prefix);
        let after = after.map(|after| full_key(account, kind.code(), after));
        let rows = self.engine.scan(&head, after.as_deref(), limit)?;
        rows.into_iter()
            .map(|(full, stored)| {
                let key = full.get(17..).unwrap_or_default().to_vec();
                let value = self.unwrap(account, kind.code(), &key, stored)?;
                Ok((key, value))
            })
            .collect()
    }

    /// The last record of a kind.
    pub fn last<O>(&self, account: AccountKey, kind: Kind<O>) -> Result<Option<Row>, StorageError> {
        let Some((full, stored)) = self.engine.last(&full_key(account, kind.code(), &[]))? else {
            return Ok(None);
        };
        let key = full.get(17..).unwrap_or_default().to_vec();
        let value = self.unwrap(account, kind.code(), &key, stored)?;
        Ok(Some((key, value)))
    }

    fn unwrap(&self, account: AccountKey, kind: u8, key: &[u8], mut stored: Vec<u8>) -> Result<Vec<u8>, StorageError> {
        let corrupt = |what| StorageError::Corrupt { kind, key: hex::encode(key), what };
        match stored.first() {
            Some(&INLINE) => {
                stored.remove(0);
                Ok(stored)
            }
            Some(&CHUNKED) => {
                let count = stored[1..].try_into().map(u16::from_be_bytes).map_err(|_| corrupt("chunk count"))?;
                let mut value = Vec::with_capacity(usize::from(count) * PART);
                for part in 0..count {
                    let chunk = self.engine.get(&chunk_key(account, kind, key, part))?;
                    value.extend_from_slice(&chunk.ok_or_else(|| corrupt("a chunk is missing"))?);
                }
                Ok(value)
            }
            _ => Err(corrupt("marker byte")),
        }
    }

    /// Adds one write to a batch; chunks of the value that it replaces are removed.
    pub fn stage(&self, batch: &mut Batch, account: AccountKey, write: Write) -> Result<(), StorageError> {
        let Write { kind, key, value, .. } = write;
        let full = full_key(account, kind, &key);
        let old = match batch.writes.get(&full) {
            Some(staged) => staged.clone(),
            None => self.engine.get(&full)?,
        };
        let old_parts = old.as_deref().map_or(0, parts);
        let mut new_parts = 0;
        let stored = match value {
            None => None,
            Some(value) if value.len() <= PART => Some([&[INLINE], &value[..]].concat()),
            Some(value) => {
                let count = u16::try_from(value.len().div_ceil(PART)).map_err(|_| StorageError::Engine {
                    action: "write",
                    why: format!("a value of {} bytes is too long", value.len()),
                })?;
                for (part, bytes) in (0..count).zip(value.chunks(PART)) {
                    batch.writes.insert(chunk_key(account, kind, &key, part), Some(bytes.to_vec()));
                }
                new_parts = count;
                Some([&[CHUNKED], &count.to_be_bytes()[..]].concat())
            }
        };
        for part in new_parts..old_parts {
            batch.writes.insert(chunk_key(account, kind, &key, part), None);
        }
        batch.writes.insert(full, stored);
        Ok(())
    }
}

fn parts(stored: &[u8]) -> u16 {
    match stored {
        [CHUNKED, a, b] => u16::from_be_bytes([*a, *b]),
        _ => 0,
    }
}

fn full_key(account: AccountKey, kind: u8, key: &[u8]) -> Vec<u8> {
    [&account.as_bytes()[..], &[kind], key].concat()
}

fn chunk_key(account: AccountKey, kind: u8, key: &[u8], part: u16) -> Vec<u8> {
    [&account.as_bytes()[..], &[kind::CHUNK, kind], key, &part.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{ChangeSet, Changes, MemoryEngine, owner};

    fn store() -> Records {
        Records::new(Arc::new(MemoryEngine::default()))
    }

    fn put(records: &Records, value: Option<&[u8]>) {
        let mut set = ChangeSet::<owner::Server>::default();
        match value {
            Some(value) => set.put(kind::META, "k", value),
            None => set.delete(kind::META, "k"),
        }
        let mut changes = Changes::default();
        changes.absorb(set);
        let mut batch = Batch::default();
        for write in changes.writes {
            records.stage(&mut batch, AccountKey::SERVER, write).unwrap();
        }
        records.engine.apply(batch).unwrap();
    }

    #[test]
    fn long_values_are_cut_into_small_rows_and_leave_none_behind() {
        let records = store();
        let long: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        for value in [&long[..], &long[..5000], b"short", &long[..]] {
            put(&records, Some(value));
            assert_eq!(records.get(AccountKey::SERVER, kind::META, b"k").unwrap().as_deref(), Some(value));
            let rows = records.engine.scan(&[], None, 100).unwrap();
            assert!(rows.iter().all(|(_, stored)| stored.len() <= MAX_VALUE));
            let expected = if value.len() <= PART { 1 } else { 1 + value.len().div_ceil(PART) };
            assert_eq!(rows.len(), expected);
        }
        put(&records, None);
        assert_eq!(records.engine.scan(&[], None, 100).unwrap(), []);
    }
}
