//! What operators do with the data of a server that is stopped: back up, restore, migrate, compact, copy, replace the master key.
//!
//! Invariant: whatever is cut short can be repeated, and what was there before is gone only when its replacement is on disk.

mod backup;
mod compaction;
mod data;
mod keys;
mod loss;
mod migration;

pub use backup::{NewFile, Restored, backup, backup_to, check_restored, restore, verify};
pub use compaction::{compact, copy_store};
pub use data::{OperateError, open_engine};
pub use keys::{rotate_data_keys, rotate_master_key};
pub use loss::accept_loss;
pub use migration::{migrate_data, migrate_records, plan_migration};
