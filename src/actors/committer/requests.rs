//! Requests to the committer's thread.

use crate::actors::committer::staging::Staging;
use crate::base::ids::{AccountKey, EndpointId, Generation};
use crate::storage::{Batch, Changes, StorageError};
use crate::webhook::Delivery;
use std::pin::Pin;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Resolves when the request is durable or was rejected.
pub type Committed = Pin<Box<dyn Future<Output = Result<(), StorageError>> + Send>>;

pub(super) type Stage = Box<dyn FnOnce(&mut Staging, &mut Batch) -> Result<(), StorageError> + Send>;
pub(super) type Done = oneshot::Sender<Result<(), StorageError>>;

pub(super) enum Request {
    /// A new tree of the account: later turns of older trees are rejected.
    Begin {
        account: AccountKey,
        generation: Generation,
        done: Done,
    },
    Commit {
        account: AccountKey,
        generation: Generation,
        changes: Changes,
        asked: Instant,
        done: Done,
    },
    /// The outcome of a delivery: the row's new value, or none.
    Delivery {
        endpoint: EndpointId,
        position: u64,
        row: Option<Box<Delivery>>,
        done: Done,
    },
    /// Reads committed rows and stages writes that depend on them, in a separate commit.
    Alone {
        stage: Stage,
        done: Done,
    },
    Stop {
        done: Done,
    },
}
