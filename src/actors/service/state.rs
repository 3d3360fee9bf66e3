//! The service: one handle over the fleet, the store and the dispatcher, for the layers above.

use crate::actors::committer::store::Store;
use crate::actors::error::ActorError as Error;
use crate::actors::fleet::registry::Fleet;
use crate::actors::metrics::Metrics;
use crate::actors::service::disk::Disk;
use crate::actors::service::handle::AccountHandle;
use crate::actors::supervision::critical::CriticalActors;
use crate::actors::transport::network::Network;
use crate::actors::webhooks::dispatcher::Dispatcher;
use crate::base::entropy::Entropy;
use crate::base::ids::AccountId;
use crate::base::time::{Clock, Timestamp};
use actix::Addr;
use std::sync::Arc;

#[derive(Clone)]
pub struct Service {
    pub(super) fleet: Addr<Fleet>,
    pub(super) dispatcher: Addr<Dispatcher>,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<Entropy>,
    pub(super) allow_private: bool,
    pub(super) log: crate::actors::service::events::EventLog,
    pub(super) metrics: Arc<Metrics>,
    pub(super) disk: Disk,
    pub(super) network: Network,
    pub(super) critical: CriticalActors,
}

/// A failure that ends the server. Acknowledged work is durable; a restart continues it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A write has failed. The store is not read again.
    #[error(
        "a write to the data folder failed, as the log says; what was acknowledged is durable; free space, and start again"
    )]
    Storage,
    #[error("the {0} went down by a panic, as the log says; what was acknowledged is durable; start again")]
    Actor(&'static str),
}

impl Service {
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    /// True while messages can be accepted.
    pub fn is_ready(&self) -> bool {
        self.critical.is_well() && self.fleet.connected() && self.dispatcher.connected() && self.store.is_writing()
    }

    /// The handle to an account; whether it exists shows with the first use.
    pub fn account(&self, id: &AccountId) -> AccountHandle {
        AccountHandle::new(id.clone(), self.fleet.clone(), self.store.clone())
    }

    pub(in crate::actors) async fn ask<M>(&self, message: M) -> Result<M::Result, Error>
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        Fleet: actix::Handler<M>,
    {
        self.fleet.send(message).await.map_err(|_| Error::ShuttingDown)
    }

    /// Refuses what would make the store grow while the disk is nearly full.
    pub fn check_space(&self) -> Result<(), Error> {
        self.disk.check_space()
    }

    /// Resolves with the failure that ends the server.
    pub async fn failed(&self) -> Failure {
        tokio::select! {
            () = self.store.stopped() => Failure::Storage,
            actor = self.critical.failed() => Failure::Actor(actor),
        }
    }
}
