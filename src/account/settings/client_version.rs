//! The WhatsApp Web version that all accounts present at login. It can change while they run.

use crate::wire::payload::ClientVersion;
use std::sync::atomic::{AtomicU32, Ordering};

/// A version whose last part, the revision, changes; the first two parts are fixed.
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

    /// Sets the revision.
    pub fn set(&self, version: ClientVersion) {
        self.revision.store(version.2, Ordering::Relaxed);
    }
}
