//! The engine on disk that can be compacted while it is used: sled keeps the space of what was overwritten, and gives none back.
//!
//! A store is the generation that the file `generation` names, a folder of its own; without that file it is the data folder itself.
//! Compaction (`compaction.rs`) copies the rows into the next generation. Invariant: the named generation is whole and synced, and every
//! other one is rubbish.

use super::engine::{Batch, Engine, Fences, Row, Rows};
use super::files::{folder_size, replace, sync_folder};
use super::{SledEngine, StorageError};
use crate::base::ids::AccountKey;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

const NAME: &str = "generation";
const PREFIX: &str = "generation-";
/// What sled keeps in its folder.
const FILES_OF_SLED: [&str; 3] = ["conf", LOG_OF_SLED, "blobs"];
const LOG_OF_SLED: &str = "db";
const SNAPSHOTS_OF_SLED: &str = "snap.";

/// Keys that were written since a copy began; `None` when none is made.
pub(super) type Written = Option<BTreeSet<Vec<u8>>>;

pub struct Generations {
    folder: PathBuf,
    cache: u64,
    current: RwLock<Current>,
    fences: Fences,
    /// Held while a batch is applied.
    written: Mutex<Written>,
    /// Held while the store is compacted.
    pub(super) compacting: Mutex<()>,
}

struct Current {
    number: u64,
    engine: SledEngine,
    /// Whether a crash could bring back the one before: nothing more may be written.
    is_doubtful: bool,
}

pub(super) fn io_failed(action: &'static str) -> impl Fn(io::Error) -> StorageError {
    move |error| StorageError::Engine { action, why: error.to_string() }
}

impl Generations {
    /// Opens the store in `folder`, creating it where needed, with a page cache of `cache` bytes. The folder is locked until the engine is
    /// dropped. Nothing is removed: call [`remove_others`](Self::remove_others) once the store is known to be complete.
    pub fn open(folder: &Path, cache: u64) -> Result<Self, StorageError> {
        let number = named(folder)?;
        // sled would begin an empty store in its place.
        if !place(folder, number).join(LOG_OF_SLED).exists() && (number > 0 || has_generations(folder)?) {
            return Err(StorageError::Generation { path: folder.display().to_string(), number });
        }
        let engine = SledEngine::open(&place(folder, number), cache)?;
        // Another server that held it until now may have changed the name.
        if named(folder)? != number {
            return Err(StorageError::Locked { path: folder.display().to_string() });
        }
        Ok(Self {
            folder: folder.to_owned(),
            cache,
            current: RwLock::new(Current { number, engine, is_doubtful: false }),
            fences: Fences::default(),
            written: Mutex::default(),
            compacting: Mutex::default(),
        })
    }

    /// The bytes of the data folder.
    pub fn size(&self) -> Result<u64, StorageError> {
        folder_size(&self.folder).map_err(io_failed("measure its folder"))
    }

    fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn certain(&self) -> Result<RwLockReadGuard<'_, Current>, StorageError> {
        let current = self.current();
        match current.is_doubtful {
            true => {
                Err(StorageError::Engine { action: "write", why: "the name of its generation is not on disk".into() })
            }
            false => Ok(current),
        }
    }

    /// No batch is applied while this is held.
    pub(super) fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the next generation, empty.
    pub(super) fn next(&self) -> Result<(u64, SledEngine), StorageError> {
        let number = self.current().number + 1;
        let folder = place(&self.folder, number);
        remove(&folder)?;
        Ok((number, SledEngine::open(&folder, self.cache)?))
    }

    /// Makes a generation that is whole and synced the current one. No batch may be applied meanwhile. Returns the one before.
    pub(super) fn switch(&self, number: u64, engine: SledEngine) -> Result<SledEngine, StorageError> {
        // The engine syncs its log, and not the names of its files.
        sync_folder(&place(&self.folder, number)).map_err(io_failed("sync its generation"))?;
        let renamed = replace(&self.folder, NAME, format!("{number}\n").as_bytes());
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = renamed {
            current.is_doubtful = named(&self.folder).ok() != Some(current.number);
            return Err(io_failed("name its generation")(error));
        }
        Ok(std::mem::replace(&mut *current, Current { number, engine, is_doubtful: false }).engine)
    }

    /// Removes what a compaction that was cut short has left: all generations but the current one.
    pub fn remove_others(&self) -> Result<(), StorageError> {
        let current = self.certain()?;
        remove_others(&self.folder, current.number)
    }
}

fn named(folder: &Path) -> Result<u64, StorageError> {
    match fs::read_to_string(folder.join(NAME)) {
        Ok(text) => {
            let malformed = |_| StorageError::Engine { action: "read its generation", why: "it is no number".into() };
            text.trim_end().parse().map_err(malformed)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(io_failed("read its generation")(error)),
    }
}

fn has_generations(folder: &Path) -> Result<bool, StorageError> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_failed("look for its generations")(error)),
    }
}

fn place(folder: &Path, number: u64) -> PathBuf {
    if number == 0 { folder.to_owned() } else { folder.join(format!("{PREFIX}{number}")) }
}

fn remove_others(folder: &Path, number: u64) -> Result<(), StorageError> {
    let failed = io_failed("look for older generations");
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let name = entry.map_err(&failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_generation = name.strip_prefix(PREFIX).is_some_and(|of| of.parse() != Ok(number));
        let is_of_sled = FILES_OF_SLED.contains(&name) || name.starts_with(SNAPSHOTS_OF_SLED);
        if is_generation || (number > 0 && is_of_sled) {
            remove(&folder.join(name))?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), StorageError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_failed("remove an older generation")(error)),
        _ => Ok(()),
    }
}

impl Engine for Generations {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.current().engine.get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StorageError> {
        self.current().engine.scan(prefix, after, limit)
    }

    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StorageError> {
        self.current().engine.last(prefix)
    }

    fn copy(&self, prefix: &[u8]) -> Result<Rows, StorageError> {
        self.current().engine.copy(prefix)
    }

    fn fence(&self, account: AccountKey, epoch: u64) -> Result<(), StorageError> {
        self.fences.raise(account, epoch)
    }

    fn apply(&self, batch: Batch) -> Result<(), StorageError> {
        let mut written = self.written();
        self.fences.check(&batch)?;
        if let Some(keys) = &mut *written {
            keys.extend(batch.writes.keys().cloned());
        }
        self.certain()?.engine.apply(batch)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.certain()?.engine.sync()
    }
}
