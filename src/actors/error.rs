//! Errors of the actor layer.

use crate::account::{AccountError, Refusal, Repeated};
use crate::storage::StorageError;
use crate::webhook::TargetError;

/// An error of the actor layer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ActorError {
    #[error("there is no account {0:?}")]
    NoAccount(String),
    #[error("an account {0:?} exists already")]
    AccountExists(String),
    #[error("{field}: {why}")]
    BadField { field: &'static str, why: String },
    #[error("there is no webhook {0:?}")]
    NoWebhook(String),
    /// The account refuses a command.
    #[error("{detail}")]
    Refused { status: u16, code: &'static str, detail: String },
    #[error(transparent)]
    Repeated(#[from] Repeated),
    #[error("the account is being restarted; repeat the request with the same Idempotency-Key")]
    Restarting,
    #[error("the account is quarantined after repeated failures: {0}; start it to try again")]
    Quarantined(String),
    #[error("too many requests are waiting for this account; try again later")]
    Busy,
    #[error(
        "the disk is nearly full: {free} bytes are free, and storage.keep_free_mib keeps {keep}; free space, and repeat the request"
    )]
    NoSpace { free: u64, keep: u64 },
    #[error("this cursor is not of this event log; begin without one")]
    BadCursor,
    #[error("webhook target: {0}")]
    Target(#[from] TargetError),
    #[error("the server's storage failed: {0}")]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Account(#[from] AccountError),
    #[error("the network cannot be used: {0}")]
    Network(String),
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl ActorError {
    /// The refusal of a feature, as callers see it.
    pub(in crate::actors) fn refused(refusal: impl Refusal) -> Self {
        let (status, code) = refusal.problem();
        Self::Refused { status, code, detail: refusal.to_string() }
    }
}
