//! Layer 2: records, atomic write sets, engines.
//!
//! A key is `account ‖ kind ‖ key`: one account is one prefix. A turn's writes are one [`Changes`], applied whole or not at
//! all. Invariant: a kind of record is written by one owner only; [`ChangeSet`] makes another owner's kind a type error.

mod backup;
mod changes;
mod chunks;
mod compaction;
mod compactor;
pub mod conformance;
mod data_keys;
mod engine;
mod error;
mod files;
mod generations;
mod key_ring;
mod kinds;
mod mark;
mod mark_sync;
mod marked;
mod memory;
mod migrate;
mod overlay;
mod records;
mod ringed;
mod seal;
mod sled_engine;

pub use backup::{
    BackupError, Extent, Manifest, apply_backup, begin_restore, end_restore, is_half_restored, is_of, is_of_log,
    verify_backup, write_backup,
};
pub use changes::{ChangeSet, Changes, NewEvent, Write};
pub use compaction::Compacted;
pub use compactor::{Compactor, Schedule};
pub use engine::{Batch, Engine, Row, Rows};
pub use error::StorageError;
pub use files::folder_size;
pub use generations::Generations;
pub use kinds::{Kind, OF_DEVICE, Owner, kind, kind_name, owner};
pub use marked::Marked;
pub use memory::MemoryEngine;
pub use migrate::{DATA_FORMAT, Planned, format_of, migrate, migrate_rows, plan, put_format};
pub use overlay::{AccountStore, Overlay};
pub use records::{Records, Rotation};
pub use ringed::Ringed;
pub use seal::{MasterKey, Sealing, change_master_key};
pub use sled_engine::SledEngine;
