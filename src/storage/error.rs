//! What can go wrong in storage.

/// An error of the storage layer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    #[error("the data folder {path} is in use by another server; stop it first, or give this one its own folder")]
    Locked { path: String },
    #[error("the store cannot {action}: {why}")]
    Engine { action: &'static str, why: String },
    #[error("record kind {kind:#04x}, key {key}, is corrupt: {what}")]
    Corrupt { kind: u8, key: String, what: &'static str },
    #[error("the data is of format {found}; this build reads format {expected}")]
    Format { found: u32, expected: u32 },
    #[error("the committer has stopped after a failed write; the store must be reopened")]
    Stopped,
    #[error("the turn belongs to an older generation of the account and was not written")]
    Fenced,
}
