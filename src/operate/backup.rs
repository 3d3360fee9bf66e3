//! Backups: written, verified and restored, whole or one account.

use super::data::{
    OperateError, Store, accept_engine, io_failed, master_for_existing, open_engine, open_existing, open_unmarked,
    sealing,
};
use crate::account::prepare_restored;
use crate::actors::{manifest_of, stored_accounts};
use crate::app::AppError;
use crate::base::ids::{AccountId, AccountKey};
use crate::base::time::Timestamp;
use crate::config::Config;
use crate::storage::{
    Batch, ChangeSet, Engine, Extent, Manifest, MasterKey, MemoryEngine, Records, apply_backup, begin_restore,
    end_restore, format_of, is_half_restored, is_of, is_of_log, kind, migrate, verify_backup, write_backup,
};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    let (rows, sessions) = match account {
        None => restore_whole(config, master, &manifest, file, now)?,
        Some(id) => restore_account(config, master, &manifest, id, file, now)?,
    };
    Ok(Restored { manifest, rows, sessions })
}

/// Opens the store for a whole backup: where nothing is, the mark of what was there is void.
fn open_new(config: &Config) -> Result<Store, AppError> {
    let engine = open_unmarked(config)?;
    check_restored(&engine, config)?;
    let is_empty = engine.scan(&[], None, 1)?.is_empty();
    drop(engine);
    match is_empty {
        true => accept_engine(config),
        false => Err(OperateError::NotEmpty { path: config.data.clone() }.into()),
    }
}

fn restore_whole(
    config: &Config,
    master: Option<MasterKey>,
    manifest: &Manifest,
    file: &Path,
    now: Timestamp,
) -> Result<(u64, usize), AppError> {
    if !manifest.whole {
        return Err(OperateError::NotWhole.into());
    }
    // A wrong master key shows before anything is written.
    server_rows(file, master.clone())?;
    let engine = Arc::new(open_new(config)?);
    begin_restore(&*engine)?;
    let rows = apply_backup(open(file)?, &*engine, |_| true)?;
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
    end_restore(&*engine)?;
    Ok((rows, sessions))
}

/// Brings one account's rows, then its place in the list, into a store that lacks it. Its part of the event log stays behind:
/// positions are of one log only.
fn restore_account(
    config: &Config,
    master: Option<MasterKey>,
    manifest: &Manifest,
    id: &AccountId,
    file: &Path,
    now: Timestamp,
) -> Result<(u64, usize), AppError> {
    let not_in_it = || OperateError::NotInBackup(id.to_string());
    let found = manifest.accounts.iter().find(|(name, _)| name == id.as_str());
    let key = found.map(|(_, key)| *key).ok_or_else(not_in_it)?;
    let engine = Arc::new(open_engine(config)?);
    check_restored(&*engine, config)?;
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
    let rows = apply_backup(open(file)?, &*engine, |row| is_of(row, key) && !is_of_log(row))?;
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

pub(super) fn commit_server(
    records: &Records,
    write: impl FnOnce(&mut ChangeSet<crate::storage::owner::Server>),
) -> Result<(), AppError> {
    let mut writes = ChangeSet::default();
    write(&mut writes);
    Ok(records.commit(Batch::default(), AccountKey::SERVER, writes)?)
}
