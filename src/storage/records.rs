//! Records over an engine: keys with their prefix, long values in chunks.
//!
//! sled puts large values into files that it never syncs, so no value in the engine exceeds [`MAX_VALUE`]: longer ones are
//! cut into chunk rows beside the record, in the same batch.

use super::StorageError;
use super::changes::{ChangeSet, Write};
use super::chunks::{Chunks, chunk_key};
use super::engine::{Batch, Engine, Row, Rows};
use super::kinds::{Kind, is_named};
use super::seal::{NAME, OVERHEAD, Sealing, is_sealed};
use crate::base::ids::AccountKey;
use std::borrow::Cow;
use std::sync::Arc;

/// The largest value that an engine gets, sealed and with its marker byte.
pub const MAX_VALUE: usize = 4096;
const PART: usize = MAX_VALUE - 1 - OVERHEAD;
const INLINE: u8 = 0;
const CHUNKED: u8 = 1;

/// Rows that one step of a rotation reseals.
const ROTATION_PAGE: usize = 256;

/// The next step of a data-key rotation. An interrupted rotation starts over, with the key that it had added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    Begin,
    /// Rows after this one may be sealed under an older key.
    Reseal(Option<Vec<u8>>),
    End,
}

/// Read access to all records, and the translation of writes into engine batches.
#[derive(Clone)]
pub struct Records {
    engine: Arc<dyn Engine>,
    sealing: Option<Arc<Sealing>>,
    chunks: Chunks,
}

impl Records {
    /// Unsealed records, for disks that are encrypted otherwise.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, sealing: None, chunks: Chunks::default() }
    }

    /// Opens sealed or unsealed records; refuses a master key that does not fit.
    pub fn open(engine: Arc<dyn Engine>, sealing: Option<Sealing>) -> Result<Self, StorageError> {
        match &sealing {
            Some(sealing) => sealing.check(&*engine)?,
            None if is_sealed(&*engine)? => return Err(StorageError::Sealed),
            None => {}
        }
        Ok(Self { engine, sealing: sealing.map(Arc::new), chunks: Chunks::default() })
    }

    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    pub fn get<O>(&self, account: AccountKey, kind: Kind<O>, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(key) = self.stored_key(None, account, kind.code(), key)? else { return Ok(None) };
        let full = full_key(account, kind.code(), &key);
        let stored = self.engine.get(&full)?;
        stored.map(|stored| self.read(account, &full, stored)).transpose()
    }

    /// Up to `limit` records of a kind in order of their keys, those with `prefix` that come after `after`. Of a kind whose keys
    /// begin with a name, the prefix is empty or the whole name; without it the rows bear the names as they are stored.
    pub fn scan<O>(
        &self,
        account: AccountKey,
        kind: Kind<O>,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Rows, StorageError> {
        self.scan_code(account, kind.code(), prefix, after, limit)
    }

    pub(super) fn scan_code(
        &self,
        account: AccountKey,
        kind: u8,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Rows, StorageError> {
        let Some(stored) = self.stored_key(None, account, kind, prefix)? else { return Ok(Vec::new()) };
        let head = full_key(account, kind, &stored);
        let after = after.map(|after| full_key(account, kind, after));
        let rows = self.engine.scan(&head, after.as_deref(), limit)?;
        rows.into_iter()
            .map(|(full, stored)| {
                let key = [prefix, full.get(head.len()..).unwrap_or_default()].concat();
                Ok((key, self.read(account, &full, stored)?))
            })
            .collect()
    }

    /// The last record of a kind.
    pub fn last<O>(&self, account: AccountKey, kind: Kind<O>) -> Result<Option<Row>, StorageError> {
        let Some((full, stored)) = self.engine.last(&full_key(account, kind.code(), &[]))? else {
            return Ok(None);
        };
        let key = full.get(17..).unwrap_or_default().to_vec();
        Ok(Some((key, self.read(account, &full, stored)?)))
    }

    /// The key as it is stored; `None` where the account has nothing that could have this key.
    fn stored_key<'k>(
        &self,
        batch: Option<&mut Batch>,
        account: AccountKey,
        kind: u8,
        key: &'k [u8],
    ) -> Result<Option<Cow<'k, [u8]>>, StorageError> {
        let Some(sealing) = self.sealing.as_ref().filter(|_| is_named(kind) && !key.is_empty()) else {
            return Ok(Some(key.into()));
        };
        let end = key.iter().position(|byte| *byte == 0).map_or(key.len(), |zero| zero + 1);
        let (name, rest) = key.split_at(end);
        let hashed = sealing.name(&*self.engine, batch, account, name)?;
        Ok(hashed.map(|hashed| [&hashed[..], rest].concat().into()))
    }

    /// The value of a row: unsealed, and joined from its chunks.
    fn read(&self, account: AccountKey, full: &[u8], stored: Vec<u8>) -> Result<Vec<u8>, StorageError> {
        let mut stored = self.open_row(account, full, stored)?;
        match stored.first() {
            Some(&INLINE) => {
                stored.remove(0);
                Ok(stored)
            }
            Some(&CHUNKED) => {
                let count = stored[1..].try_into().map(u16::from_be_bytes).map_err(|_| corrupt(full, "chunk count"))?;
                let mut value = Vec::with_capacity(usize::from(count) * PART);
                for part in 0..count {
                    let place = chunk_key(full, part);
                    let chunk = self.engine.get(&place)?.ok_or_else(|| corrupt(full, "a chunk is missing"))?;
                    value.extend_from_slice(&self.open_row(account, &place, chunk)?);
                }
                Ok(value)
            }
            _ => Err(corrupt(full, "marker byte")),
        }
    }

    fn open_row(&self, account: AccountKey, full: &[u8], stored: Vec<u8>) -> Result<Vec<u8>, StorageError> {
        match &self.sealing {
            None => Ok(stored),
            Some(sealing) => {
                let mut opened = sealing.open(&*self.engine, account, full, &stored)?;
                if opened.is_none() {
                    // A rotation may have resealed the row, and removed its key, since it was read.
                    let again = self.engine.get(full)?.filter(|again| *again != stored);
                    let again = again.map(|again| sealing.open(&*self.engine, account, full, &again));
                    opened = again.transpose()?.flatten();
                }
                opened.ok_or_else(|| corrupt(full, "it is not what was sealed for its place"))
            }
        }
    }

    fn seal_row(
        &self,
        batch: &mut Batch,
        account: AccountKey,
        full: &[u8],
        value: Vec<u8>,
    ) -> Result<Vec<u8>, StorageError> {
        match &self.sealing {
            None => Ok(value),
            Some(sealing) => sealing.seal(&*self.engine, batch, account, full, &value),
        }
    }

    /// The accounts that have records, without the server's own.
    pub fn accounts(&self) -> Result<Vec<AccountKey>, StorageError> {
        let mut accounts = Vec::new();
        let mut after = Some(after_account(AccountKey::SERVER));
        while let Some(from) = after.take() {
            let next = self.engine.scan(&[], Some(&from), 1)?;
            if let Some(key) = next.first().and_then(|(full, _)| full.first_chunk::<16>()) {
                let account = AccountKey::from_bytes(*key);
                accounts.push(account);
                after = Some(after_account(account));
            }
        }
        Ok(accounts)
    }

    /// Runs one step of a data-key rotation, to be committed before the next one. `None` when the rotation is finished.
    pub fn rotate_data_key(
        &self,
        batch: &mut Batch,
        account: AccountKey,
        step: Rotation,
    ) -> Result<Option<Rotation>, StorageError> {
        let Some(sealing) = &self.sealing else { return Ok(None) };
        match step {
            Rotation::Begin => {
                sealing.begin_rotation(&*self.engine, batch, account)?;
                Ok(Some(Rotation::Reseal(None)))
            }
            Rotation::Reseal(after) => {
                let next = sealing.reseal(&*self.engine, batch, account, after.as_deref(), ROTATION_PAGE)?;
                Ok(Some(next.map_or(Rotation::End, |after| Rotation::Reseal(Some(after)))))
            }
            Rotation::End => {
                sealing.end_rotation(&*self.engine, batch, account)?;
                Ok(None)
            }
        }
    }

    /// Whether a rotation of the account's data key is running, or was interrupted.
    pub fn is_rotating(&self, account: AccountKey) -> Result<bool, StorageError> {
        self.sealing.as_ref().map_or(Ok(false), |sealing| sealing.is_rotating(&*self.engine, account))
    }

    /// Deletes the data keys of an account whose records are deleted.
    pub fn stage_forgotten(&self, batch: &mut Batch, account: AccountKey) {
        self.chunks.forget(account);
        if let Some(sealing) = &self.sealing {
            batch.writes.insert(sealing.forget(account), None);
        }
    }

    /// Adds one write to a batch; chunks of the value that it replaces are removed.
    pub fn stage(&self, batch: &mut Batch, account: AccountKey, write: Write) -> Result<(), StorageError> {
        let Write { kind, key, value, .. } = write;
        let stored = self.stored_key(Some(batch), account, kind, &key)?;
        let stored = stored.map_or(key.clone(), Cow::into_owned);
        self.stage_stored(batch, account, kind, &stored, value)
    }

    /// A key of a kind whose keys begin with a name, as [`scan`](Self::scan) without a prefix gives it: the name, and the rest.
    pub fn split_name<'k>(&self, stored: &'k [u8]) -> (&'k [u8], &'k [u8]) {
        let end = match &self.sealing {
            Some(_) => NAME,
            None => stored.iter().position(|byte| *byte == 0).map_or(stored.len(), |zero| zero + 1),
        };
        stored.split_at(end.min(stored.len()))
    }

    /// Adds all writes of a set to a batch.
    pub fn stage_set<O>(&self, batch: &mut Batch, account: AccountKey, set: ChangeSet<O>) -> Result<(), StorageError> {
        set.into_writes().try_for_each(|write| self.stage(batch, account, write))
    }

    /// Applies a batch and a set, and syncs; for use without a committer.
    pub fn commit<O>(&self, mut batch: Batch, account: AccountKey, set: ChangeSet<O>) -> Result<(), StorageError> {
        self.stage_set(&mut batch, account, set)?;
        self.engine.apply(batch)?;
        self.engine.sync()
    }

    /// Adds a write to a batch by the key as it is stored, which [`scan`](Self::scan) without a prefix gives.
    pub fn restage<O>(
        &self,
        batch: &mut Batch,
        account: AccountKey,
        kind: Kind<O>,
        key: &[u8],
        value: Option<Vec<u8>>,
    ) -> Result<(), StorageError> {
        self.stage_stored(batch, account, kind.code(), key, value)
    }

    /// The same, by the key as it is stored, which [`scan`](Self::scan) without a prefix gives.
    pub(super) fn stage_stored(
        &self,
        batch: &mut Batch,
        account: AccountKey,
        kind: u8,
        key: &[u8],
        value: Option<Vec<u8>>,
    ) -> Result<(), StorageError> {
        let full = full_key(account, kind, key);
        let old_parts = match self.chunks.may_have(&*self.engine, account, kind)? {
            true => self.parts_of(batch, account, &full)?,
            false => 0,
        };
        let mut new_parts = 0;
        let row = match value {
            None => None,
            Some(value) if value.len() <= PART => Some([&[INLINE], &value[..]].concat()),
            Some(value) => {
                let count = u16::try_from(value.len().div_ceil(PART)).map_err(|_| StorageError::Engine {
                    action: "write",
                    why: format!("a value of {} bytes is too long", value.len()),
                })?;
                for (part, bytes) in (0..count).zip(value.chunks(PART)) {
                    let place = chunk_key(&full, part);
                    let sealed = self.seal_row(batch, account, &place, bytes.to_vec())?;
                    batch.writes.insert(place, Some(sealed));
                }
                self.chunks.written(account, kind);
                new_parts = count;
                Some([&[CHUNKED], &count.to_be_bytes()[..]].concat())
            }
        };
        for part in new_parts..old_parts {
            batch.writes.insert(chunk_key(&full, part), None);
        }
        let row = row.map(|row| self.seal_row(batch, account, &full, row)).transpose()?;
        batch.writes.insert(full, row);
        Ok(())
    }

    /// The number of chunks of a record, as the batch leaves it.
    fn parts_of(&self, batch: &Batch, account: AccountKey, full: &[u8]) -> Result<u16, StorageError> {
        let old = match batch.writes.get(full) {
            Some(staged) => staged.clone(),
            None => self.engine.get(full)?,
        };
        // A damaged value may be replaced or deleted; its chunks, if any, are left behind.
        let old = old.and_then(|old| self.open_row(account, full, old).ok());
        Ok(old.as_deref().map_or(0, parts))
    }
}

fn corrupt(full: &[u8], what: &'static str) -> StorageError {
    let (kind, key) = (full.get(16).copied().unwrap_or_default(), full.get(17..).unwrap_or_default());
    StorageError::Corrupt { kind, key: hex::encode(key), what }
}

fn parts(stored: &[u8]) -> u16 {
    match stored {
        [CHUNKED, a, b] => u16::from_be_bytes([*a, *b]),
        _ => 0,
    }
}

/// Sorts after every key of this account, and before every key of the next.
fn after_account(account: AccountKey) -> Vec<u8> {
    [&account.as_bytes()[..], &[0xff; 64]].concat()
}

fn full_key(account: AccountKey, kind: u8, key: &[u8]) -> Vec<u8> {
    [&account.as_bytes()[..], &[kind], key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{ChangeSet, Changes, MemoryEngine, kind, owner};

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
    fn long_values_are_chunked_and_deleted_with_their_chunks() {
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
