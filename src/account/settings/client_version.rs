//! The version of WhatsApp Web that all accounts say they are: it can change while they run.

use crate::wire::payload::ClientVersion;
use std::sync::atomic::{AtomicU32, Ordering};

/// The last part changes; the first two are as they were set.
#[derive(Debug)]
pub struct SharedVersion {
    base: ClientVersion,
    revision: AtomicU32,
}

impl SharedVersion {
    pub fn new(version: ClientVersion) -> Self {
        Self { base: version, revision: AtomicU32::new(version.2) }
    }

    pub fn get(&self) -> ClientVersion {
        ClientVersion(self.base.0, self.base.1, self.revision.load(Ordering::Relaxed))
    }

    /// Takes up another revision.
    pub fn set(&self, version: ClientVersion) {
        self.revision.store(version.2, Ordering::Relaxed);
    }
}
