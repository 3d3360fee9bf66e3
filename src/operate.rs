//! What operators do with the data of a server that is stopped: back up, restore, migrate, compact, copy, replace the master key.
//!
//! Invariant: whatever is cut short can be repeated, and what was there before is gone only when its replacement is on disk.

use crate::account::prepare_restored;
use crate::actors::{manifest_of, stored_accounts};
use crate::app::AppError;
use crate::base::entropy::Entropy;
use crate::base::ids::{AccountId, AccountKey};
use crate::base::time::Timestamp;
use crate::config::Config;
use crate::key_file::{self, KeyFileError};
use crate::storage::{
    BackupError, Batch, ChangeSet, Engine, Extent, Manifest, MasterKey, MemoryEngine, Planned, Records, Rotation,
    Sealing, SledEngine, StorageError, apply_backup, begin_restore, change_master_key, end_restore, format_of,
    is_half_restored, is_of, is_of_log, kind, migrate, plan, verify_backup, write_backup,
};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the data cannot be dealt with in this way.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    #[error("{path}: {why}")]
    File { path: String, why: std::io::Error },
    #[error("{path} exists already; name another file")]
    Exists { path: String },
    #[error("there is no data folder {path}")]
    NoData { path: String },
    #[error("the data folder {path} is not empty; a whole backup is restored into a new one")]
    NotEmpty { path: String },
    #[error("a restore into {path} was cut short; remove the folder, and restore again")]
    HalfRestored { path: String },
    #[error("the copy in {path} is not what was copied; nothing was changed")]
    NotCopied { path: String },
    #[error("the backup holds single accounts only; name the one that is to be restored: --account ID")]
    NotWhole,
    #[error("the backup has no account {0:?}")]
    NotInBackup(String),
    #[error("an account {0:?} exists already; delete it first, or restore into another folder")]
    AccountExists(String),
    #[error(
        "the backup is of data format {found}, the data are of format {expected}; restore it whole, and migrate it first"
    )]
    Format { found: u32, expected: u32 },
}

fn io_failed(path: &Path) -> impl Fn(std::io::Error) -> OperateError {
    move |why| OperateError::File { path: path.display().to_string(), why }
}

/// What a restore has brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub manifest: Manifest,
    pub rows: u64,
    /// Sessions that read but do not write.
    pub sessions: usize,
}

/// Backs up the data folder of the settings into a new file.
pub fn backup(
    config: &Config,
    given: Option<MasterKey>,
    account: Option<&AccountId>,
    file: &Path,
    now: Timestamp,
) -> Result<(Manifest, Extent), AppError> {
    let records = open_existing(config, given)?;
    backup_to(&records, account, file, now)
}

/// Backs up into a new file, which has its name only when it is complete and on disk.
pub fn backup_to(
    records: &Records,
    account: Option<&AccountId>,
    file: &Path,
    now: Timestamp,
) -> Result<(Manifest, Extent), AppError> {
    let manifest = manifest_of(records, account, now)?;
    let mut new = NewFile::create(file)?;
    let extent = write_backup(records.engine(), &manifest, &mut new.out)?;
    new.finish()?;
    Ok((manifest, extent))
}

/// A new file that has its name only when it is complete and on disk; until then it ends with `.part`.
pub struct NewFile {
    file: PathBuf,
    part: PathBuf,
    out: BufWriter<File>,
}

impl NewFile {
    pub fn create(file: &Path) -> Result<Self, OperateError> {
        if file.exists() {
            return Err(OperateError::Exists { path: file.display().to_string() });
        }
        let part = PathBuf::from(format!("{}.part", file.display()));
        let out = BufWriter::new(File::create(&part).map_err(io_failed(&part))?);
        Ok(Self { file: file.to_owned(), part, out })
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), OperateError> {
        self.out.write_all(bytes).map_err(io_failed(&self.part))
    }

    pub fn finish(self) -> Result<(), OperateError> {
        let out = self.out.into_inner().map_err(|error| io_failed(&self.part)(error.into_error()))?;
        out.sync_all().map_err(io_failed(&self.part))?;
        fs::rename(&self.part, &self.file).map_err(io_failed(&self.file))
    }
}

/// Reads a whole backup, and tells what it holds.
pub fn verify(file: &Path) -> Result<(Manifest, Extent), AppError> {
    Ok(verify_backup(open(file)?)?)
}

fn open(file: &Path) -> Result<BufReader<File>, OperateError> {
    File::open(file).map(BufReader::new).map_err(io_failed(file))
}

/// Restores a backup: all of it into a new data folder, or one account into an existing one.
pub fn restore(
    config: &Config,
    given: Option<MasterKey>,
    account: Option<&AccountId>,
    file: &Path,
    now: Timestamp,
) -> Result<Restored, AppError> {
    let (manifest, _) = verify(file)?;
    let master = master_for_existing(config, given)?;
    if account.is_some() && !Path::new(&config.data).exists() {
        return Err(OperateError::NoData { path: config.data.clone() }.into());
    }
    let engine: Arc<dyn Engine> = Arc::new(open_engine(config)?);
    let (rows, sessions) = match account {
        None => restore_whole(config, master, &engine, &manifest, file, now)?,
        Some(id) => restore_account(config, master, &engine, &manifest, id, file, now)?,
    };
    Ok(Restored { manifest, rows, sessions })
}

fn restore_whole(
    config: &Config,
    master: Option<MasterKey>,
    engine: &Arc<dyn Engine>,
    manifest: &Manifest,
    file: &Path,
    now: Timestamp,
) -> Result<(u64, usize), AppError> {
    if !manifest.whole {
        return Err(OperateError::NotWhole.into());
    }
    check_restored(&**engine, config)?;
    // A wrong master key shows before anything is written.
    server_rows(file, master.clone())?;
    if !engine.scan(&[], None, 1)?.is_empty() {
        return Err(OperateError::NotEmpty { path: config.data.clone() }.into());
    }
    begin_restore(&**engine)?;
    let rows = apply_backup(open(file)?, &**engine, |_| true)?;
    let records = Records::open(engine.clone(), sealing(master)?)?;
    migrate(&records, now)?;
    let mut sessions = 0;
    for (_, key) in &manifest.accounts {
        sessions += prepare_restored(&records, *key, now)?;
    }
    // An account that was created while the backup was made has a place in the list, but no rows.
    let known = |key: AccountKey| manifest.accounts.iter().any(|(_, of)| *of == key);
    let strangers = stored_accounts(&records)?.into_iter().filter(|(_, key)| !known(*key));
    // A new epoch: cursors of the log that the world has seen are void.
    commit_server(&records, |writes| {
        writes.delete(kind::META, "epoch");
        strangers.for_each(|(id, _)| writes.delete(kind::ACCOUNT, id.as_str()));
    })?;
    end_restore(&**engine)?;
    Ok((rows, sessions))
}

/// Brings one account's rows, then its place in the list, into a store that lacks it. Its part of the event log stays behind:
/// positions are of one log only.
fn restore_account(
    config: &Config,
    master: Option<MasterKey>,
    engine: &Arc<dyn Engine>,
    manifest: &Manifest,
    id: &AccountId,
    file: &Path,
    now: Timestamp,
) -> Result<(u64, usize), AppError> {
    let not_in_it = || OperateError::NotInBackup(id.to_string());
    let found = manifest.accounts.iter().find(|(name, _)| name == id.as_str());
    let key = found.map(|(_, key)| *key).ok_or_else(not_in_it)?;
    check_restored(&**engine, config)?;
    let target = Records::open(engine.clone(), sealing(master.clone())?)?;
    let expected = format_of(&target)?.ok_or_else(|| OperateError::NoData { path: config.data.clone() })?;
    if manifest.data_format != expected {
        return Err(OperateError::Format { found: manifest.data_format, expected }.into());
    }
    if stored_accounts(&target)?.iter().any(|(other, other_key)| other == id || *other_key == key) {
        return Err(OperateError::AccountExists(id.to_string()).into());
    }
    let theirs = server_rows(file, master)?;
    let record = theirs.get(AccountKey::SERVER, kind::ACCOUNT, id.as_str().as_bytes())?.ok_or_else(not_in_it)?;
    let rows = apply_backup(open(file)?, &**engine, |row| is_of(row, key) && !is_of_log(row))?;
    let sessions = prepare_restored(&target, key, now)?;
    commit_server(&target, |writes| writes.put(kind::ACCOUNT, id.as_str(), record))?;
    Ok((rows, sessions))
}

/// The server's own rows of a backup, the log apart: accounts' places in the list, sealed under the key of the server that wrote it.
fn server_rows(file: &Path, master: Option<MasterKey>) -> Result<Records, AppError> {
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::default());
    apply_backup(open(file)?, &*engine, |row| is_of(row, AccountKey::SERVER) && !is_of_log(row))?;
    Ok(Records::open(engine, sealing(master)?)?)
}

/// Whether a restore into this store was cut short.
pub fn check_restored(engine: &dyn Engine, config: &Config) -> Result<(), AppError> {
    match is_half_restored(engine)? {
        true => Err(OperateError::HalfRestored { path: config.data.clone() }.into()),
        false => Ok(()),
    }
}

fn commit_server(
    records: &Records,
    write: impl FnOnce(&mut ChangeSet<crate::storage::owner::Server>),
) -> Result<(), AppError> {
    let mut writes = ChangeSet::default();
    write(&mut writes);
    Ok(records.commit(Batch::default(), AccountKey::SERVER, writes)?)
}

/// The steps that the data need, nothing being changed.
pub fn plan_migration(config: &Config, given: Option<MasterKey>) -> Result<Vec<Planned>, AppError> {
    Ok(plan(&open_existing(config, given)?)?)
}

/// Makes the steps that the data of the settings need.
pub fn migrate_data(config: &Config, given: Option<MasterKey>, now: Timestamp) -> Result<Option<PathBuf>, AppError> {
    migrate_records(config, &open_existing(config, given)?, now)
}

/// The same, of records that are open. A backup is made before the first step; its place is returned.
pub fn migrate_records(config: &Config, records: &Records, now: Timestamp) -> Result<Option<PathBuf>, AppError> {
    let steps = plan(records)?;
    let Some(first) = steps.first() else { return Ok(None) };
    let file = beside(config, &format!("before-{}.backup", first.name));
    // A step that was cut short has its backup already, of what was there before it began.
    if !file.exists() {
        backup_to(records, None, &file, now)?;
    }
    tracing::warn!(file = %file.display(), steps = steps.len(), "the data are migrated; a backup was made first");
    migrate(records, now)?;
    Ok(Some(file))
}

/// Rewrites the store without the space of overwritten rows. Returns the bytes on disk before and after.
pub fn compact(config: &Config) -> Result<(u64, u64), AppError> {
    settle_compaction(config)?;
    let (data, new, old) = (Path::new(&config.data), beside(config, "compacting"), beside(config, "before-compaction"));
    if new.exists() {
        fs::remove_dir_all(&new).map_err(io_failed(&new))?;
    }
    let before = size_of(data)?;
    copy_store(config, &new)?;
    fs::rename(data, &old).map_err(io_failed(data))?;
    fs::rename(&new, data).map_err(io_failed(&new))?;
    fs::remove_dir_all(&old).map_err(io_failed(&old))?;
    Ok((before, size_of(data)?))
}

fn beside(config: &Config, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}.{suffix}", config.data.trim_end_matches('/')))
}

/// A compaction that was cut short between its renamings: without its data folder a server would begin an empty one.
fn settle_compaction(config: &Config) -> Result<(), OperateError> {
    let (data, old) = (Path::new(&config.data), beside(config, "before-compaction"));
    match (data.exists(), old.exists()) {
        (false, true) => fs::rename(&old, data).map_err(io_failed(&old)),
        // The new one is in its place, so it is complete.
        (true, true) => fs::remove_dir_all(&old).map_err(io_failed(&old)),
        (_, false) => Ok(()),
    }
}

/// Copies all rows into a new folder, and checks that it has them.
pub fn copy_store(config: &Config, to: &Path) -> Result<u64, AppError> {
    if to.exists() {
        return Err(OperateError::Exists { path: to.display().to_string() }.into());
    }
    if !Path::new(&config.data).exists() {
        return Err(OperateError::NoData { path: config.data.clone() }.into());
    }
    let from = open_engine(config)?;
    let copy = SledEngine::open(to, config.storage.cache_mib * 1024 * 1024)?;
    let (mut after, mut count) = (None::<Vec<u8>>, 0);
    loop {
        let page = from.scan(&[], after.as_deref(), 1000)?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        count += page.len() as u64;
        let writes = page.into_iter().map(|(key, value)| (key, Some(value))).collect();
        copy.apply(Batch { writes, ..Batch::default() })?;
    }
    copy.sync()?;
    let mut after = None::<Vec<u8>>;
    loop {
        let [page, copied] = [from.scan(&[], after.as_deref(), 1000)?, copy.scan(&[], after.as_deref(), 1000)?];
        if page != copied {
            return Err(OperateError::NotCopied { path: to.display().to_string() }.into());
        }
        let Some((last, _)) = page.last() else { return Ok(count) };
        after = Some(last.clone());
    }
}

fn size_of(folder: &Path) -> Result<u64, OperateError> {
    let failed = io_failed(folder);
    let mut size = 0;
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let meta = entry.and_then(|entry| entry.metadata()).map_err(&failed)?;
        size += if meta.is_file() { meta.len() } else { 0 };
    }
    Ok(size)
}

/// Replaces the master key of the settings, or the `given` one, by a new one. Returns the number of wrapped data keys, and where
/// the old master key is kept.
///
/// The new key is on disk before anything is wrapped under it, in a file with `.new`; a crash loses neither.
pub fn rotate_master_key(config: &Config, given: Option<MasterKey>) -> Result<(usize, String), AppError> {
    let path = config.master_key_file();
    let old = master_key(config, given)?;
    let engine = open_engine(config)?;
    let mut rng = Entropy::from_system()?.fork();
    let next = format!("{path}.new");
    let new = match key_file::read(&next)? {
        // A replacement that was cut short is finished.
        Some(begun) => begun,
        None => {
            let new = MasterKey::generate(&mut rng);
            key_file::write(&next, &new)?;
            new
        }
    };
    let count = match change_master_key(&engine, &old, new.clone(), rng) {
        Err(StorageError::WrongMasterKey { needed, .. }) if needed == new.id_hex() => 0,
        changed => changed?,
    };
    Ok((count, key_file::replace(&path, &next, &old)?))
}

/// Replaces every data key, and seals every record again. Returns the number of keys.
pub fn rotate_data_keys(config: &Config, given: Option<MasterKey>) -> Result<usize, AppError> {
    let records = open_existing(config, given)?;
    let all: Vec<_> = [AccountKey::SERVER].into_iter().chain(records.accounts()?).collect();
    for account in &all {
        let mut next = Some(Rotation::Begin);
        while let Some(step) = next {
            let mut batch = Batch::default();
            next = records.rotate_data_key(&mut batch, *account, step)?;
            records.engine().apply(batch)?;
            records.engine().sync()?;
        }
    }
    Ok(all.len())
}

/// Opens the store of the settings, creating it where there is none.
pub fn open_engine(config: &Config) -> Result<SledEngine, AppError> {
    settle_compaction(config)?;
    Ok(SledEngine::open(Path::new(&config.data), config.storage.cache_mib * 1024 * 1024)?)
}

fn open_existing(config: &Config, given: Option<MasterKey>) -> Result<Records, AppError> {
    settle_compaction(config)?;
    if !Path::new(&config.data).exists() {
        return Err(OperateError::NoData { path: config.data.clone() }.into());
    }
    let sealing = sealing(master_for_existing(config, given)?)?;
    Ok(Records::open(Arc::new(open_engine(config)?), sealing)?)
}

/// `None` where the data are not sealed.
fn master_for_existing(config: &Config, given: Option<MasterKey>) -> Result<Option<MasterKey>, AppError> {
    if config.storage.seal { master_key(config, given).map(Some) } else { Ok(None) }
}

fn sealing(master: Option<MasterKey>) -> Result<Option<Sealing>, AppError> {
    let Some(master) = master else { return Ok(None) };
    Ok(Some(Sealing::new(master, Entropy::from_system()?.fork())))
}

fn master_key(config: &Config, given: Option<MasterKey>) -> Result<MasterKey, AppError> {
    let path = config.master_key_file();
    let missing = || KeyFileError::Missing { path: path.clone() };
    Ok(given.map_or_else(|| key_file::read(&path)?.ok_or_else(missing), Ok)?)
}

impl From<BackupError> for AppError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Storage(error) => error.into(),
            other => Self::Backup(other),
        }
    }
}
