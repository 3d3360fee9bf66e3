//! Backups: some accounts or the whole store in one file, which is verified without any key.
//!
//! The file is a magic, a format byte, a JSON [`Manifest`], the rows as they are stored (sealed, where the data are sealed), and
//! a SHA-256 over all of that. Each account is copied between two batches, with the data key that its rows are sealed under; the
//! server's own rows come last. Invariant: a file is verified as a whole before any row of it is used.

use super::StorageError;
use super::engine::{Batch, Engine, Row, Rows};
use super::kinds::kind;
use super::seal::data_key_row;
use crate::base::ids::AccountKey;
use crate::base::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};

const MAGIC: &[u8; 8] = b"WHARFBAK";
const FORMAT: u8 = 1;
const MAX_MANIFEST: u32 = 64 * 1024 * 1024;
/// Above the length of any stored key or value.
const MAX_FIELD: u32 = 64 * 1024;
const END: u32 = u32::MAX;
const DIGEST: usize = 32;
/// Rows in one batch of a restore.
const PAGE: usize = 1000;

/// The contents of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub created_at: Timestamp,
    /// The format of the data.
    pub data_format: u32,
    /// The build that wrote it.
    pub wharf: String,
    /// Whether it holds the whole store or chosen accounts only.
    pub whole: bool,
    /// The accounts in it, by name.
    pub accounts: Vec<(String, AccountKey)>,
}

/// The size of a backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    pub rows: u64,
    pub bytes: u64,
}

/// An error of writing, verifying or restoring a backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("the backup cannot be written or read: {0}")]
    Io(#[from] io::Error),
    #[error("the file is not a backup of wharf, or a newer build wrote it")]
    NoBackup,
    #[error("the backup is damaged or incomplete: {0}")]
    Damaged(&'static str),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Counts and hashes the bytes that pass through.
struct Hashing<T> {
    inner: T,
    hash: Sha256,
    extent: Extent,
}

impl<T> Hashing<T> {
    fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), extent: Extent::default() }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.extent.bytes += bytes.len() as u64;
    }
}

impl<W: Write> Hashing<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.note(bytes);
        self.inner.write_all(bytes)
    }

    fn put_field(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Rows are at most MAX_VALUE long.
        self.put(&u32::try_from(bytes.len()).unwrap_or(END).to_be_bytes())?;
        self.put(bytes)
    }

    fn put_rows(&mut self, rows: Rows) -> io::Result<()> {
        for (key, value) in rows {
            self.put_field(&key)?;
            self.put_field(&value)?;
            self.extent.rows += 1;
        }
        Ok(())
    }
}

impl<R: Read> Hashing<R> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).map_err(cut_short)?;
        self.note(&bytes);
        Ok(bytes)
    }

    fn take_field(&mut self, length: u32, max: u32) -> Result<Vec<u8>, BackupError> {
        if length > max {
            return Err(BackupError::Damaged("a length is out of range"));
        }
        let mut bytes = vec![0; length as usize];
        self.inner.read_exact(&mut bytes).map_err(cut_short)?;
        self.note(&bytes);
        Ok(bytes)
    }

    fn take_row(&mut self) -> Result<Option<Row>, BackupError> {
        let length = u32::from_be_bytes(self.take()?);
        if length == END {
            return Ok(None);
        }
        let key = self.take_field(length, MAX_FIELD)?;
        let length = u32::from_be_bytes(self.take()?);
        let value = self.take_field(length, MAX_FIELD)?;
        self.extent.rows += 1;
        Ok(Some((key, value)))
    }
}

fn cut_short(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::Damaged("it ends too soon"),
        _ => error.into(),
    }
}

/// Writes the manifest's accounts with their entries in the list of accounts, and all of the server's rows for a full backup.
pub fn write_backup(engine: &dyn Engine, manifest: &Manifest, out: impl Write) -> Result<Extent, BackupError> {
    let mut out = Hashing::new(out);
    out.put(MAGIC)?;
    out.put(&[FORMAT])?;
    out.put_field(&serde_json::to_vec(manifest).map_err(io::Error::from)?)?;
    for (_, account) in &manifest.accounts {
        out.put_rows(copy_account(engine, *account)?)?;
    }
    let mut rows = copy_account(engine, AccountKey::SERVER)?;
    // Data keys are written with their accounts.
    let own = data_key_row(AccountKey::SERVER);
    let data_keys = &own[..17];
    let mut own_key_seen = false;
    rows.retain(|(key, _)| !key.starts_with(data_keys) || (*key == own && !std::mem::replace(&mut own_key_seen, true)));
    if !manifest.whole {
        let place = |name: &String| [&data_keys[..16], &[kind::ACCOUNT.code()], name.as_bytes()].concat();
        let places: Vec<_> = manifest.accounts.iter().map(|(name, _)| place(name)).collect();
        rows.retain(|(key, _)| *key == own || places.contains(key));
    }
    out.put_rows(rows)?;
    out.put(&END.to_be_bytes())?;
    let digest = out.hash.finalize_reset();
    out.inner.write_all(&digest)?;
    out.inner.flush()?;
    out.extent.bytes += digest.len() as u64;
    Ok(out.extent)
}

/// Copies an account's rows with the data key that they are sealed under; copies again when the key changed meanwhile.
fn copy_account(engine: &dyn Engine, account: AccountKey) -> Result<Rows, StorageError> {
    let row = data_key_row(account);
    loop {
        let before = engine.get(&row)?;
        let rows = engine.copy(account.as_bytes())?;
        if engine.get(&row)? == before {
            return Ok(before.map(|key| (row, key)).into_iter().chain(rows).collect());
        }
    }
}

/// Verifies a backup; returns its manifest and size.
pub fn verify_backup(from: impl Read) -> Result<(Manifest, Extent), BackupError> {
    read(from, |_, _| Ok(()))
}

/// Restores the rows that `wanted` accepts, in batches, and syncs. The backup must have been verified.
pub fn apply_backup(from: impl Read, engine: &dyn Engine, wanted: impl Fn(&[u8]) -> bool) -> Result<u64, BackupError> {
    let (mut batch, mut count) = (Batch::default(), 0);
    read(from, |key, value| {
        if wanted(&key) {
            count += 1;
            batch.writes.insert(key, Some(value));
        }
        if batch.writes.len() >= PAGE {
            engine.apply(std::mem::take(&mut batch))?;
        }
        Ok(())
    })?;
    engine.apply(batch)?;
    engine.sync()?;
    Ok(count)
}

fn read(
    from: impl Read,
    mut row: impl FnMut(Vec<u8>, Vec<u8>) -> Result<(), BackupError>,
) -> Result<(Manifest, Extent), BackupError> {
    let mut from = Hashing::new(from);
    let head = from.take::<9>().map_err(|_| BackupError::NoBackup)?;
    if head[..8] != MAGIC[..] || head[8] != FORMAT {
        return Err(BackupError::NoBackup);
    }
    let length = u32::from_be_bytes(from.take()?);
    let manifest = from.take_field(length, MAX_MANIFEST)?;
    let manifest = serde_json::from_slice(&manifest).map_err(|_| BackupError::Damaged("its manifest"))?;
    while let Some((key, value)) = from.take_row()? {
        if key.len() < 17 {
            return Err(BackupError::Damaged("a key is too short"));
        }
        row(key, value)?;
    }
    let digest = from.hash.finalize_reset();
    let mut stored = [0; DIGEST];
    from.inner.read_exact(&mut stored).map_err(cut_short)?;
    from.extent.bytes += DIGEST as u64;
    match digest[..] == stored[..] && from.inner.read(&mut [0])? == 0 {
        true => Ok((manifest, from.extent)),
        false => Err(BackupError::Damaged("its checksum")),
    }
}

/// The key of the marker of a store under restore: outside all accounts, so that it is read without any key.
fn restoring_row() -> Vec<u8> {
    [&AccountKey::SERVER.as_bytes()[..], &[kind::RESTORING]].concat()
}

/// Marks an empty store as under restore.
pub fn begin_restore(engine: &dyn Engine) -> Result<(), StorageError> {
    engine.apply(Batch { writes: [(restoring_row(), Some(Vec::new()))].into(), ..Batch::default() })?;
    engine.sync()
}

/// Removes the mark: the restore is complete.
pub fn end_restore(engine: &dyn Engine) -> Result<(), StorageError> {
    engine.apply(Batch { writes: [(restoring_row(), None)].into(), ..Batch::default() })?;
    engine.sync()
}

/// Whether a restore into this store was interrupted.
pub fn is_half_restored(engine: &dyn Engine) -> Result<bool, StorageError> {
    Ok(engine.get(&restoring_row())?.is_some())
}

/// Whether a row belongs to the account: its data key, or one of its records.
pub fn is_of(key: &[u8], account: AccountKey) -> bool {
    key.starts_with(account.as_bytes()) || *key == data_key_row(account)[..]
}

/// Whether a row belongs to the event log, whose positions are valid in one store only.
pub fn is_of_log(key: &[u8]) -> bool {
    let log = [kind::EVENT.code(), kind::EVENT_INDEX.code(), kind::DELIVERY.code()];
    match key.get(16..18) {
        Some(&[kind::CHUNK, of]) => log.contains(&of),
        Some(&[of, _]) => log.contains(&of),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryEngine;

    const ALICE: AccountKey = AccountKey::from_bytes([0xa1; 16]);
    const BOB: AccountKey = AccountKey::from_bytes([0xb0; 16]);

    fn filled() -> MemoryEngine {
        let engine = MemoryEngine::default();
        let key = |account: AccountKey, rest: &[u8]| [&account.as_bytes()[..], rest].concat();
        let rows = [
            (key(ALICE, b"\x01"), b"device".to_vec()),
            (key(ALICE, b"\x10x"), vec![7; 4096]),
            (key(BOB, b"\x01"), b"device of bob".to_vec()),
            (key(AccountKey::SERVER, b"\x45epoch"), b"1".to_vec()),
            (key(AccountKey::SERVER, b"\x40alice"), b"her record".to_vec()),
            (key(AccountKey::SERVER, b"\x40bob"), b"his record".to_vec()),
            (data_key_row(ALICE), b"alice's".to_vec()),
            (data_key_row(BOB), b"bob's".to_vec()),
            (data_key_row(AccountKey::SERVER), b"the server's".to_vec()),
        ];
        let writes = rows.into_iter().map(|(key, value)| (key, Some(value))).collect();
        engine.apply(Batch { writes, ..Batch::default() }).unwrap();
        engine
    }

    fn backup(whole: bool, accounts: &[(&str, AccountKey)]) -> Vec<u8> {
        let accounts = accounts.iter().map(|(name, key)| ((*name).to_owned(), *key)).collect();
        let manifest = Manifest { created_at: Timestamp(1), data_format: 3, wharf: "1".into(), whole, accounts };
        let mut file = Vec::new();
        let written = write_backup(&filled(), &manifest, &mut file).unwrap();
        assert_eq!(verify_backup(&file[..]).unwrap(), (manifest, written));
        assert_eq!(written.bytes, file.len() as u64);
        file
    }

    fn restored(file: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Rows {
        let engine = MemoryEngine::default();
        apply_backup(file, &engine, wanted).unwrap();
        engine.scan(&[], None, usize::MAX).unwrap()
    }

    #[test]
    fn a_full_backup_restores_every_row() {
        let file = backup(true, &[("alice", ALICE), ("bob", BOB)]);
        assert_eq!(restored(&file, |_| true), filled().scan(&[], None, usize::MAX).unwrap());
    }

    #[test]
    fn a_backup_of_one_account_holds_its_rows_and_its_data_key_only() {
        let file = backup(false, &[("alice", ALICE)]);
        let rows = restored(&file, |_| true);
        let of_the_server = [data_key_row(AccountKey::SERVER), [&[0; 16], &b"\x40alice"[..]].concat()];
        assert_eq!(rows.len(), 5);
        assert!(rows.iter().all(|(key, _)| is_of(key, ALICE) || of_the_server.contains(key)));
    }

    #[test]
    fn one_account_can_be_restored_from_a_full_backup() {
        let file = backup(true, &[("alice", ALICE), ("bob", BOB)]);
        assert_eq!(restored(&file, |key| is_of(key, BOB)).len(), 2);
    }

    #[test]
    fn an_altered_or_truncated_backup_is_refused() {
        let file = backup(true, &[("alice", ALICE)]);
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(verify_backup(&changed[..]).is_err(), "changed at {at}");
            if at % 16 == 0 {
                assert!(verify_backup(&file[..at]).is_err(), "cut at {at}");
            }
        }
        assert!(verify_backup(&[&file[..], b"x"].concat()[..]).is_err(), "something follows");
    }
}
