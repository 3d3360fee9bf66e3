//! Going on with a store that has lost commits: every account is treated as restored from a backup.
//!
//! Invariant: the mark is accepted last, so that no server starts on accounts that may use a key twice.

use super::backup::{check_restored, commit_server};
use super::data::{OperateError, accept_engine, master_for_existing, open_engine, open_unmarked, sealing};
use crate::account::prepare_restored;
use crate::actors::stored_accounts;
use crate::app::AppError;
use crate::base::time::Timestamp;
use crate::config::Config;
use crate::storage::{Engine, MasterKey, Records, kind};
use std::path::Path;
use std::sync::Arc;

/// Accepts what the store has lost. Returns the numbers of its accounts, and of their sessions that read but do not write.
pub fn accept_loss(config: &Config, given: Option<MasterKey>, now: Timestamp) -> Result<(usize, usize), AppError> {
    if !Path::new(&config.data).exists() {
        return Err(OperateError::NoData { path: config.data.clone() }.into());
    }
    // Accounts that are whole would lose their sessions and their queue for nothing.
    let mark = config.mark_file();
    if Path::new(&mark).exists() {
        match open_engine(config) {
            Ok(_) => return Err(OperateError::NothingLost { mark }.into()),
            Err(AppError::Storage(error)) if error.is_of_the_mark() => {}
            Err(error) => return Err(error),
        }
    }
    let done = prepare_accounts(config, given, now)?;
    accept_engine(config)?;
    Ok(done)
}

fn prepare_accounts(config: &Config, given: Option<MasterKey>, now: Timestamp) -> Result<(usize, usize), AppError> {
    let engine = Arc::new(open_unmarked(config)?);
    check_restored(&*engine, config)?;
    if engine.scan(&[], None, 1)?.is_empty() {
        return Ok((0, 0));
    }
    let records = Records::open(engine, sealing(master_for_existing(config, given)?)?)?;
    let (accounts, mut sessions) = (stored_accounts(&records)?, 0);
    for (_, key) in &accounts {
        sessions += prepare_restored(&records, *key, now)?;
    }
    // A new epoch: cursors of the log that the world has seen are void.
    commit_server(&records, |writes| writes.delete(kind::META, "epoch"))?;
    Ok((accounts.len(), sessions))
}
