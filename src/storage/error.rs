//! Errors of the storage layer.

/// An error of the storage layer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    #[error("the data folder {path} is in use by another server; stop it first, or give this one its own folder")]
    Locked { path: String },
    #[error("the store cannot {action}: {why}")]
    Engine { action: &'static str, why: String },
    #[error(
        "the store has lost its last {lost} commits, as {mark} says; restore a backup into a new folder (wharf restore), go on \
         without them (wharf storage accept-loss), or remove that file too, for a new start on purpose"
    )]
    Behind { mark: String, lost: u64 },
    #[error(
        "the store is not the one that {mark} is of; put the right folder back, or go on with this one (wharf storage accept-loss)"
    )]
    OtherHistory { mark: String },
    #[error(
        "the commit mark {mark} is damaged, so whether the store is complete cannot be told; go on with it by wharf storage \
         accept-loss"
    )]
    MarkDamaged { mark: String },
    #[error("the key ring {path} is damaged, and nothing can be read without it; restore a backup (wharf restore)")]
    KeyRing { path: String },
    #[error(
        "the data folder {path} has no generation {number}, which its file `generation` names (0 where that is missing); put the file \
         or the folder back, or restore a backup into a new folder (wharf restore)"
    )]
    Generation { path: String, number: u64 },
    #[error("record kind {kind:#04x}, key {key}, is corrupt: {what}")]
    Corrupt { kind: u8, key: String, what: &'static str },
    #[error(
        "the master key {given} does not open the data, which were sealed under {needed}; give the server that key"
    )]
    WrongMasterKey { given: String, needed: String },
    #[error(
        "the data are not sealed, and storage.seal is true; they are of a build before sealing, or were written without it"
    )]
    NotSealed,
    #[error(
        "the data are sealed, and storage.seal is false; set it to true, with the master key they were sealed under"
    )]
    Sealed,
    #[error("the data is of format {found}; this build reads format {expected}")]
    Format { found: u32, expected: u32 },
    #[error("the committer has stopped after a failed write; the store must be reopened")]
    Stopped,
    #[error("the turn belongs to an older generation of the account and was not written")]
    Fenced,
}

impl StorageError {
    /// Whether the store may be whole but for what its commit mark says.
    pub fn is_of_the_mark(&self) -> bool {
        matches!(self, Self::Behind { .. } | Self::OtherHistory { .. } | Self::MarkDamaged { .. })
    }
}
