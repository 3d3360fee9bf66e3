//! Compaction and copies of the store.

use super::data::{OperateError, io_failed, open_engine};
use crate::app::AppError;
use crate::config::Config;
use crate::storage::{Batch, Compacted, Engine, SledEngine, folder_size};
use std::path::Path;

/// Rewrites the store without the space of overwritten rows. Returns the bytes on disk before and after.
pub fn compact(config: &Config) -> Result<Compacted, AppError> {
    let before = folder_size(Path::new(&config.data)).map_err(io_failed(Path::new(&config.data)))?;
    let compacted = open_engine(config)?.store().store().compact(|| true)?;
    Ok(compacted.unwrap_or((before, before)))
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
