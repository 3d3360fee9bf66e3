//! Free space of the disk, and the limit below which messages are rejected.

use crate::actors::error::ActorError;
use std::sync::Arc;

/// Measures a number of bytes; `None` where that is impossible.
pub type Measure = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// The disk of the data folder.
#[derive(Clone)]
pub struct Disk {
    pub free_space: Measure,
    /// The size of the data folder.
    pub store_size: Measure,
    /// Below this many free bytes messages are rejected.
    pub keep_free: u64,
}

impl Disk {
    /// Rejects requests that make the store grow while the disk is nearly full: the engine must not run out of space.
    pub(super) fn check_space(&self) -> Result<(), ActorError> {
        match (self.free_space)() {
            Some(free) if free < self.keep_free => Err(ActorError::NoSpace { free, keep: self.keep_free }),
            _ => Ok(()),
        }
    }
}
