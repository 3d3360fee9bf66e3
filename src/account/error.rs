//! What ends a turn without a result. The tree is then loaded anew from what is committed.

use crate::account::ChildDown;
use crate::signal::SignalError;
use crate::storage::StorageError;
use crate::wire::WireError;

/// An error of the account layer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountError {
    #[error("account storage: {0}")]
    Storage(#[from] StorageError),
    #[error("the service's stanza cannot be used: {0}")]
    Wire(#[from] WireError),
    #[error("signal operation failed: {0}")]
    Signal(#[from] SignalError),
    #[error(transparent)]
    Child(#[from] ChildDown),
    #[error("a stored {what} record cannot be read")]
    Record { what: &'static str },
}
