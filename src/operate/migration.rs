//! Migrations of the stored format, with a backup before the first step.

use super::backup::backup_to;
use super::data::{beside, open_existing};
use crate::app::AppError;
use crate::base::time::Timestamp;
use crate::config::Config;
use crate::storage::{MasterKey, Planned, Records, migrate, plan};
use std::path::PathBuf;

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
