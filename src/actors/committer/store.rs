//! The store: requests to the committer, and reads of committed records.

use crate::actors::committer::ledger::DeliveryCounts;
use crate::actors::committer::requests::{Committed, Done, Request};
use crate::actors::committer::staging::Staging;
use crate::base::ids::{AccountKey, EndpointId, Generation};
use crate::storage::{AccountStore, Batch, ChangeSet, Changes, Overlay, Records, StorageError, owner};
use crate::webhook::Delivery;
use std::pin::Pin;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// A handle: sends requests to the committer and reads committed records.
#[derive(Clone)]
pub struct Store {
    pub(super) requests: mpsc::UnboundedSender<Request>,
    pub records: Records,
    /// Position of the next event; changes with every commit of events.
    pub log_end: watch::Receiver<u64>,
    pub(in crate::actors) deliveries: watch::Receiver<DeliveryCounts>,
}

impl Store {
    /// Commits a turn. The request is in order with others of this caller as soon as this returns.
    pub fn commit(&self, account: AccountKey, generation: Generation, changes: Changes) -> Committed {
        let asked = Instant::now();
        self.request(|done| Request::Commit { account, generation, changes, asked, done })
    }

    /// Commits records of the server itself.
    pub fn commit_server(&self, writes: ChangeSet<owner::Server>) -> Committed {
        let mut changes = Changes::default();
        changes.absorb(writes);
        self.commit(AccountKey::SERVER, Generation::default(), changes)
    }

    /// Fences off all older trees of the account. When it resolves, none of their commits is under way.
    pub fn begin(&self, account: AccountKey, generation: Generation) -> Committed {
        self.request(|done| Request::Begin { account, generation, done })
    }

    pub(in crate::actors) fn delivery(
        &self,
        endpoint: EndpointId,
        position: u64,
        row: Option<Box<Delivery>>,
    ) -> Committed {
        self.request(|done| Request::Delivery { endpoint, position, row, done })
    }

    /// Runs `stage` on the committer's thread between two commits; resolves with its result when that is durable.
    pub(in crate::actors) fn alone<R: Send + 'static>(
        &self,
        stage: impl FnOnce(&mut Staging, &mut Batch) -> Result<R, StorageError> + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = Result<R, StorageError>> + Send>> {
        let (result, staged) = oneshot::channel();
        let stage = move |staging: &mut Staging, batch: &mut Batch| {
            // A caller that has gone needs no result.
            let _ = result.send(stage(staging, batch)?);
            Ok(())
        };
        let committed = self.request(|done| Request::Alone { stage: Box::new(stage), done });
        Box::pin(async move {
            committed.await?;
            staged.await.map_err(|_| StorageError::Stopped)
        })
    }

    /// Whether commits are still taken: not after a failed write.
    pub fn is_writing(&self) -> bool {
        !self.requests.is_closed()
    }

    /// Resolves when the committer has ended: after a failed write, or when it was stopped.
    pub async fn stopped(&self) {
        self.requests.closed().await;
    }

    /// Writes the waiting requests, then stops.
    pub fn stop(&self) -> Committed {
        self.request(|done| Request::Stop { done })
    }

    fn request(&self, make: impl FnOnce(Done) -> Request) -> Committed {
        let (done, result) = oneshot::channel();
        let sent = self.requests.send(make(done));
        Box::pin(async move {
            sent.map_err(|_| StorageError::Stopped)?;
            result.await.map_err(|_| StorageError::Stopped)?
        })
    }

    /// The records of an account as they are stored.
    pub(in crate::actors) fn account(&self, account: AccountKey) -> AccountStore {
        AccountStore::new(self.records.clone(), account, Overlay::default())
    }
}
