//! Replacing the master key, and the data keys.

use super::data::{master_key, open_engine, open_existing};
use crate::app::AppError;
use crate::base::entropy::Entropy;
use crate::base::ids::AccountKey;
use crate::config::Config;
use crate::key_file::{self};
use crate::storage::{Batch, MasterKey, Rotation, StorageError, change_master_key};

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
