//! The engine on disk: sled 0.34, one tree.
//!
//! `Db::flush` writes with `sync_file_range` only, which is no fsync on Linux: [`SledEngine::sync`] therefore also syncs the
//! `db` file through a separate handle. A kill while a snapshot is written leaves `snap.*.generating`, which would make
//! the next open fail: such files are removed first, and a finished snapshot that is damaged is moved aside; the log that
//! they came from is whole.

use super::StorageError;
use super::engine::{Batch, Engine, Fences, Row, Rows};
use crate::base::ids::AccountKey;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const LOCK_TRIES: u32 = 10;
const LOCK_WAIT: Duration = Duration::from_millis(100);

pub struct SledEngine {
    db: sled::Db,
    file: File,
    fences: Fences,
    /// Held while a batch is applied, and while an account is copied: sled's own scans would see half a batch.
    applying: Mutex<()>,
}

fn failed(action: &'static str) -> impl Fn(sled::Error) -> StorageError {
    move |error| StorageError::Engine { action, why: error.to_string() }
}

fn io_failed(action: &'static str) -> impl Fn(std::io::Error) -> StorageError {
    move |error| StorageError::Engine { action, why: error.to_string() }
}

impl SledEngine {
    /// Opens the store in `folder`, creating it where needed, with a page cache of `cache` bytes. The folder is locked until
    /// the engine is dropped.
    pub fn open(folder: &Path, cache: u64) -> Result<Self, StorageError> {
        // Sealed or not, readable by the owner only.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(io_failed("create the data folder"))?;
        remove_unfinished_snapshots(folder)?;
        let db = match open_patiently(folder, cache) {
            Err(StorageError::Engine { why, .. }) if move_snapshots_aside(folder)? => {
                tracing::warn!(why, "the store's snapshot is damaged and was moved aside; its log is read instead");
                open_patiently(folder, cache)?
            }
            opened => opened?,
        };
        let file = File::open(folder.join("db")).map_err(io_failed("open its log"))?;
        Ok(Self { db, file, fences: Fences::default(), applying: Mutex::new(()) })
    }
}

/// Retries: a server that is just ending holds the lock for a moment longer.
#[expect(clippy::disallowed_methods, reason = "nothing else runs yet, and the lock cannot be awaited")]
fn open_patiently(folder: &Path, cache: u64) -> Result<sled::Db, StorageError> {
    let open = || sled::Config::new().path(folder).cache_capacity(cache).open();
    let is_locked = |error: &sled::Error| matches!(error, sled::Error::Io(io) if io.to_string().contains("lock"));
    let mut opened = open();
    for _ in 0..LOCK_TRIES {
        match &opened {
            Err(error) if is_locked(error) => std::thread::sleep(LOCK_WAIT),
            _ => break,
        }
        opened = open();
    }
    opened.map_err(|error| match is_locked(&error) {
        true => StorageError::Locked { path: folder.display().to_string() },
        false => failed("open")(error),
    })
}

fn remove_unfinished_snapshots(folder: &Path) -> Result<(), StorageError> {
    for name in snapshots(folder)?.iter().filter(|name| name.ends_with(".generating")) {
        fs::remove_file(folder.join(name)).map_err(io_failed("remove an unfinished snapshot"))?;
    }
    Ok(())
}

/// True when there was a snapshot.
fn move_snapshots_aside(folder: &Path) -> Result<bool, StorageError> {
    let found = snapshots(folder)?;
    for name in &found {
        let aside = folder.join(format!("damaged-{name}"));
        fs::rename(folder.join(name), aside).map_err(io_failed("move its snapshot aside"))?;
    }
    Ok(!found.is_empty())
}

fn snapshots(folder: &Path) -> Result<Vec<String>, StorageError> {
    let failed = io_failed("look for snapshots");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let name = entry.map_err(&failed)?.file_name();
        found.extend(name.to_str().filter(|name| name.starts_with("snap.")).map(str::to_owned));
    }
    Ok(found)
}

impl Engine for SledEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.db.get(key).map_err(failed("read"))?.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StorageError> {
        use std::ops::Bound;
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        let mut rows = Vec::new();
        for row in self.db.range((start, Bound::<Vec<u8>>::Unbounded)) {
            let (key, value) = row.map_err(failed("scan"))?;
            if rows.len() >= limit || !key.starts_with(prefix) {
                break;
            }
            rows.push((key.to_vec(), value.to_vec()));
        }
        Ok(rows)
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StorageError> {
        let row = self.db.scan_prefix(prefix).next_back().transpose().map_err(failed("read"))?;
        Ok(row.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }

    fn copy(&self, prefix: &[u8]) -> Result<Rows, StorageError> {
        let _no_batch = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        self.scan(prefix, None, usize::MAX)
    }

    fn fence(&self, account: AccountKey, epoch: u64) -> Result<(), StorageError> {
        self.fences.raise(account, epoch)
    }

    fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        self.fences.check(&batch)?;
        let mut writes = sled::Batch::default();
        for (key, value) in batch.writes {
            match value {
                Some(value) => writes.insert(key, value),
                None => writes.remove(key),
            }
        }
        let _no_copy = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        self.db.apply_batch(writes).map_err(failed("write"))
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.db.flush().map_err(failed("flush"))?;
        self.file.sync_data().map_err(io_failed("sync"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE: u64 = 8 * 1024 * 1024;

    #[test]
    fn an_unfinished_snapshot_does_not_stop_the_store_from_opening() {
        let folder = tempfile::tempdir().unwrap();
        {
            filled(folder.path());
        }
        fs::write(folder.path().join("snap.0000000000000BAD.generating"), b"torn").unwrap();
        let engine = SledEngine::open(folder.path(), CACHE).unwrap();
        assert_eq!(engine.get(b"k").unwrap().as_deref(), Some(&b"v"[..]));
    }

    fn files(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn filled(folder: &Path) {
        let engine = SledEngine::open(folder, CACHE).unwrap();
        engine.apply(Batch { writes: [(b"k".to_vec(), Some(b"v".to_vec()))].into(), ..Batch::default() }).unwrap();
        engine.sync().unwrap();
    }

    #[test]
    fn a_damaged_snapshot_is_moved_aside_and_the_log_is_read_instead() {
        for damage in [&b""[..], b"torn", &[0xff; 4096]] {
            let folder = tempfile::tempdir().unwrap();
            // The second opening writes a snapshot of what it has read.
            filled(folder.path());
            filled(folder.path());
            let snapshot = files(folder.path()).into_iter().find(|name| name.starts_with("snap.")).unwrap();
            fs::write(folder.path().join(&snapshot), damage).unwrap();
            let engine = SledEngine::open(folder.path(), CACHE).unwrap();
            assert_eq!(engine.get(b"k").unwrap().as_deref(), Some(&b"v"[..]));
            assert!(files(folder.path()).contains(&format!("damaged-{snapshot}")), "it is kept for a look at it");
        }
    }

    /// sled puts what is too large for its pages into files that it never syncs.
    #[test]
    fn the_largest_row_is_stored_without_a_blob_file() {
        let folder = tempfile::tempdir().unwrap();
        let engine = SledEngine::open(folder.path(), CACHE).unwrap();
        for round in 0..20u8 {
            let row = |n: u8| (vec![n; 60], Some(vec![round ^ n; crate::storage::records::MAX_VALUE]));
            engine.apply(Batch { writes: (0..100).map(row).collect(), ..Batch::default() }).unwrap();
            engine.sync().unwrap();
        }
        let blobs = fs::read_dir(folder.path().join("blobs")).unwrap().count();
        assert_eq!(blobs, 0);
    }

    #[test]
    fn a_folder_in_use_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let _first = SledEngine::open(folder.path(), CACHE).unwrap();
        assert!(matches!(SledEngine::open(folder.path(), CACHE), Err(StorageError::Locked { .. })));
    }
}
