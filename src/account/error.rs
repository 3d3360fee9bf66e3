//! Errors that end a turn without a result. [`AccountError::Stanza`] alone skips its stanza; after every other one the tree is
//! reloaded from committed records.

use crate::signal::SignalError;
use crate::storage::StorageError;
use crate::wire::WireError;

/// A child actor is down; the whole tree is reloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {child} actor is down")]
pub struct ChildDown {
    pub child: &'static str,
}

/// An error of the account layer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountError {
    #[error("account storage: {0}")]
    Storage(#[from] StorageError),
    /// A stored record is corrupt: never skipped.
    #[error("stored {what} record is unreadable; restore the account from a backup or delete it")]
    Record { what: &'static str },
    /// Only the parsing of a stanza gives this error.
    #[error("malformed stanza: {0}")]
    Stanza(#[from] WireError),
    #[error("signal operation failed: {0}")]
    Signal(#[from] SignalError),
    #[error(transparent)]
    Child(#[from] ChildDown),
    #[error("notices between features did not settle within {rounds} rounds; report this bug")]
    Unsettled { rounds: usize },
}

/// The refusal of a command by a feature. Callers get its problem unchanged (`api.md`, "Problems").
pub trait Refusal: std::error::Error {
    /// The HTTP status and the stable code.
    fn problem(&self) -> (u16, &'static str);
}

impl Refusal for std::convert::Infallible {
    fn problem(&self) -> (u16, &'static str) {
        match *self {}
    }
}
