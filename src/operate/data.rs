//! The data folder of a server that is stopped, opened with its master key.

use crate::app::AppError;
use crate::base::entropy::Entropy;
use crate::config::Config;
use crate::key_file::{self, KeyFileError};
use crate::storage::{BackupError, Generations, Marked, MasterKey, Records, Ringed, Sealing};
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
    #[error("the store has lost nothing, as {mark} says; nothing was changed")]
    NothingLost { mark: String },
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

pub(super) fn io_failed(path: &Path) -> impl Fn(std::io::Error) -> OperateError {
    move |why| OperateError::File { path: path.display().to_string(), why }
}

pub(super) fn beside(config: &Config, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}.{suffix}", config.data.trim_end_matches('/')))
}

/// The store of the settings: its commits are marked, and its data keys stand in the key ring.
pub type Store = Ringed<Marked<Arc<Generations>>>;

/// Opens the store of the settings, creating it where there is none; refuses one that has lost commits.
pub fn open_engine(config: &Config) -> Result<Store, AppError> {
    let rng = &mut Entropy::from_system()?.fork();
    complete(config, Marked::open(Arc::new(open_sled(config)?), Path::new(&config.mark_file()), rng)?)
}

/// Opens the store as complete, whatever its mark says.
pub(super) fn accept_engine(config: &Config) -> Result<Store, AppError> {
    let rng = &mut Entropy::from_system()?.fork();
    complete(config, Marked::accept(Arc::new(open_sled(config)?), Path::new(&config.mark_file()), rng)?)
}

/// Older generations go only now that the store is known to have lost nothing, or its loss is accepted.
fn complete(config: &Config, marked: Marked<Arc<Generations>>) -> Result<Store, AppError> {
    marked.store().remove_others()?;
    Ok(Ringed::open(marked, Path::new(&config.data))?)
}

/// Opens the store without a look at its mark.
pub(super) fn open_unmarked(config: &Config) -> Result<Ringed<Generations>, AppError> {
    Ok(Ringed::open(open_sled(config)?, Path::new(&config.data))?)
}

fn open_sled(config: &Config) -> Result<Generations, AppError> {
    Ok(Generations::open(Path::new(&config.data), config.storage.cache_mib * 1024 * 1024)?)
}

pub(super) fn open_existing(config: &Config, given: Option<MasterKey>) -> Result<Records, AppError> {
    if !Path::new(&config.data).exists() {
        return Err(OperateError::NoData { path: config.data.clone() }.into());
    }
    let sealing = sealing(master_for_existing(config, given)?)?;
    Ok(Records::open(Arc::new(open_engine(config)?), sealing)?)
}

/// `None` where the data are not sealed.
pub(super) fn master_for_existing(config: &Config, given: Option<MasterKey>) -> Result<Option<MasterKey>, AppError> {
    if config.storage.seal { master_key(config, given).map(Some) } else { Ok(None) }
}

pub(super) fn sealing(master: Option<MasterKey>) -> Result<Option<Sealing>, AppError> {
    let Some(master) = master else { return Ok(None) };
    Ok(Some(Sealing::new(master, Entropy::from_system()?.fork())))
}

pub(super) fn master_key(config: &Config, given: Option<MasterKey>) -> Result<MasterKey, AppError> {
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
