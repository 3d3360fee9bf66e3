//! Compaction and copies of the store.

use super::data::{OperateError, beside, io_failed, open_engine, settle_compaction};
use crate::app::AppError;
use crate::config::Config;
use crate::storage::{Batch, Engine, SledEngine};
use std::fs::{self};
use std::path::Path;

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

/// Compacts a store of which little is in use, where the disk has room for the copy: sled keeps the space of what was overwritten for
/// later writes, and gives none back.
pub fn compact_sparse(config: &Config, free: Option<u64>) -> Result<(), AppError> {
    let (data, from) = (Path::new(&config.data), config.storage.compact_from_mib * 1024 * 1024);
    if from == 0 || !data.exists() || size_of(data)? < from {
        return Ok(());
    }
    let used = used(config)?;
    // A copy takes up to half as much again as its rows.
    if size_of(data)? > 3 * used && free.is_none_or(|free| free > 2 * used) {
        let (before, after) = compact(config)?;
        tracing::info!(before, after, "store compacted");
    }
    Ok(())
}

/// The bytes of all rows.
fn used(config: &Config) -> Result<u64, AppError> {
    let (engine, mut after, mut used) = (open_engine(config)?, None::<Vec<u8>>, 0);
    loop {
        let page = engine.scan(&[], after.as_deref(), 1000)?;
        let Some((last, _)) = page.last() else { return Ok(used) };
        after = Some(last.clone());
        used += page.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>();
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
    let opened = open_engine(config)?;
    let from = opened.store();
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
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
    }
    // A copy that takes the store's place has its mark.
    let writes = from.row()?.map(|(key, value)| (key, Some(value))).into_iter().collect();
    copy.apply(Batch { writes, ..Batch::default() })?;
    copy.sync()?;
    opened.copy_ring(to)?;
    Ok(count)
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
