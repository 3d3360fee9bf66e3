//! The file of the master key: 64 hex digits, readable by its owner alone.
//!
//! Invariant: a new key is made only for a store that is empty; for any other a missing key is an error, not a new key.

use crate::config::Config;
use crate::storage::{Engine, MasterKey, StorageError};
use rand::rngs::StdRng;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Reasons for a missing master key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error(
        "the master key file {path} is missing, and the data cannot be read without it; put it back, or set WHARF_MASTER_KEY"
    )]
    Missing { path: String },
    #[error("the master key in {path} is not 64 hex digits")]
    Malformed { path: String },
    #[error("the master key file {path} cannot be {action}: {why}")]
    Io { path: String, action: &'static str, why: std::io::Error },
    #[error("the master key file {path} can be read by others than its owner (mode {mode:03o}); chmod 600 it")]
    Exposed { path: String, mode: u32 },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Reads the key file of the settings, or creates it for an empty store.
pub fn open(config: &Config, engine: &dyn Engine, rng: &mut StdRng) -> Result<MasterKey, KeyFileError> {
    let path = config.master_key_file();
    match read(&path)? {
        Some(key) => match (exposure(&path)?, config.storage.key_file_must_be_private) {
            (Some(mode), true) => Err(KeyFileError::Exposed { path, mode }),
            (mode, _) => {
                if let Some(mode) = mode {
                    tracing::warn!("{}", KeyFileError::Exposed { path, mode });
                }
                Ok(key)
            }
        },
        None if engine.scan(&[], None, 1)?.is_empty() => {
            let key = MasterKey::generate(rng);
            write(&path, &key)?;
            tracing::warn!(path, "master key created; back it up apart from the data, which cannot be read without it");
            Ok(key)
        }
        None => Err(KeyFileError::Missing { path }),
    }
}

/// The file's mode, where it lets others than the owner read.
fn exposure(path: &str) -> Result<Option<u32>, KeyFileError> {
    let failed = |why| KeyFileError::Io { path: path.to_owned(), action: "read", why };
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    Ok(Some(mode).filter(|mode| mode & 0o044 != 0))
}

/// `None` when there is no such file.
pub fn read(path: &str) -> Result<Option<MasterKey>, KeyFileError> {
    match std::fs::read_to_string(path).map(zeroize::Zeroizing::new) {
        Ok(text) => {
            let key = MasterKey::parse(&text);
            key.map(Some).ok_or_else(|| KeyFileError::Malformed { path: path.to_owned() })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(why) => Err(KeyFileError::Io { path: path.to_owned(), action: "read", why }),
    }
}

/// Writes a new file, durably; one that exists is an error.
pub fn write(path: &str, key: &MasterKey) -> Result<(), KeyFileError> {
    let failed = |why| KeyFileError::Io { path: path.to_owned(), action: "written", why };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    writeln!(file, "{}", *key.to_hex()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Replaces the key file by `next`, and keeps the old key in a separate file, whose path is returned.
pub fn replace(path: &str, next: &str, old: &MasterKey) -> Result<String, KeyFileError> {
    let kept = format!("{path}.old-{}", old.id_hex());
    if !Path::new(&kept).exists() {
        write(&kept, old)?;
    }
    let failed = |why| KeyFileError::Io { path: path.to_owned(), action: "replaced", why };
    std::fs::rename(next, path).map_err(failed)?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Batch, MemoryEngine};
    use rand::SeedableRng;

    fn config(folder: &Path) -> Config {
        Config { data: folder.join("data").display().to_string(), ..Config::default() }
    }

    #[test]
    fn new_store_gets_a_key_file_that_only_its_owner_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let (config, engine) = (config(folder.path()), MemoryEngine::default());
        let made = open(&config, &engine, &mut StdRng::seed_from_u64(1)).unwrap();
        let path = folder.path().join("data.key");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let found = open(&config, &engine, &mut StdRng::seed_from_u64(2)).unwrap();
        assert_eq!(*found.to_hex(), *made.to_hex());
    }

    #[test]
    fn key_file_that_others_can_read_is_warned_of_and_refused_by_a_setting() {
        let folder = tempfile::tempdir().unwrap();
        let (mut config, engine) = (config(folder.path()), MemoryEngine::default());
        let opened = |config: &Config| open(config, &engine, &mut StdRng::seed_from_u64(1)).map(|_| ());
        opened(&config).unwrap();
        let path = folder.path().join("data.key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        opened(&config).unwrap();
        config.storage.key_file_must_be_private = true;
        assert!(matches!(opened(&config), Err(KeyFileError::Exposed { mode: 0o644, .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        opened(&config).unwrap();
    }

    #[test]
    fn store_with_data_never_gets_a_new_key() {
        let folder = tempfile::tempdir().unwrap();
        let (config, engine) = (config(folder.path()), MemoryEngine::default());
        engine.apply(Batch { writes: [(b"k".to_vec(), Some(b"v".to_vec()))].into(), ..Batch::default() }).unwrap();
        let refused = open(&config, &engine, &mut StdRng::seed_from_u64(1));
        assert!(matches!(refused, Err(KeyFileError::Missing { .. })));
        assert!(!folder.path().join("data.key").exists());
    }

    #[test]
    fn malformed_key_file_is_named_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.key");
        std::fs::write(&path, "not a key").unwrap();
        let refused = read(path.to_str().unwrap()).unwrap_err().to_string();
        assert_eq!(refused, format!("the master key in {} is not 64 hex digits", path.display()));
    }
}
