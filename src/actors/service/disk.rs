//! The disk: what is free, and how much of it is kept free.

use crate::actors::error::ActorError;
use std::sync::Arc;

/// Tells a number of bytes of the machine; `None` where that cannot be known.
pub type Measure = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// The disk of the data folder.
#[derive(Clone)]
pub struct Disk {
    pub free_space: Measure,
    /// The size of the data folder.
    pub store_size: Measure,
    /// Below this many free bytes nothing is taken for sending.
    pub keep_free: u64,
}

impl Disk {
    /// Refuses requests that make the store grow while the disk is nearly full: the engine must never meet its end.
    pub(super) fn check_space(&self) -> Result<(), ActorError> {
        match (self.free_space)() {
            Some(free) if free < self.keep_free => Err(ActorError::NoSpace { free, keep: self.keep_free }),
            _ => Ok(()),
        }
    }
}
