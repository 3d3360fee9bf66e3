//! Requests to the committer's thread.

use crate::actors::committer::staging::Staging;
use crate::base::ids::{AccountKey, EndpointId, Generation};
use crate::storage::{Batch, Changes, StorageError};
use crate::webhook::Delivery;
use std::pin::Pin;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Resolves when the request is durable, or is refused.
pub type Committed = Pin<Box<dyn Future<Output = Result<(), StorageError>> + Send>>;

pub(super) type Stage = Box<dyn FnOnce(&mut Staging, &mut Batch) -> Result<(), StorageError> + Send>;
pub(super) type Done = oneshot::Sender<Result<(), StorageError>>;

pub(super) enum Request {
    /// A new tree of the account: turns of older ones are refused from here on.
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
    /// Something that reads what is committed and stages what follows from it: a commit of its own.
    Alone {
        stage: Stage,
        done: Done,
    },
    Stop {
        done: Done,
    },
}
