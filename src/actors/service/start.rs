//! Start and shutdown of the server's actors.

use crate::account::Settings;
use crate::actors::committer::store::Store;
use crate::actors::committer::writer::open_store;
use crate::actors::error::ActorError as Error;
use crate::actors::fleet::registry::Fleet;
use crate::actors::fleet::tree_down::ShutDown;
use crate::actors::metrics::Metrics;
use crate::actors::service::client_version::Refresher;
use crate::actors::service::disk::Disk;
use crate::actors::service::events::EventLog;
use crate::actors::service::state::Service;
use crate::actors::supervision::critical::CriticalActors;
use crate::actors::transport::network::Network;
use crate::actors::tree::environment::Environment;
use crate::actors::tree::group_cache::GroupCache;
use crate::actors::webhooks::dispatcher::{Dispatcher, Stop};
use crate::base::entropy::Entropy;
use crate::base::hooks::Hooks;
use crate::base::ids::{AccountKey, random_hex};
use crate::base::time::Clock;
use crate::storage::{ChangeSet, DATA_FORMAT, Records, StorageError, format_of, kind, owner, put_format};
use actix::Actor;
use std::sync::Arc;
use std::time::Duration;

/// The epoch of the event log, which valid cursors carry; `None` before the first start has written it. Rejects data of another
/// format.
fn open_log(store: &Store) -> Result<Option<String>, StorageError> {
    match format_of(&store.records)? {
        Some(found) if found != DATA_FORMAT => Err(StorageError::Format { found, expected: DATA_FORMAT }),
        _ => {
            let epoch = store.records.get(AccountKey::SERVER, kind::META, b"epoch")?;
            Ok(epoch.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        }
    }
}

/// Parts and settings of a server.
pub struct ServiceConfig {
    pub records: Records,
    pub network: Network,
    pub settings: Settings,
    /// URL to ask for the client version; `None` where the version is set.
    pub version_source: Option<String>,
    pub allow_private_webhooks: bool,
    /// Back-off of webhook deliveries: the waits between attempts.
    pub retry_steps: Vec<Duration>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<Entropy>,
    pub hooks: Arc<dyn Hooks>,
    /// Threads of account trees.
    pub arbiters: usize,
    pub disk: Disk,
    /// Retention of events in the log.
    pub keep_events: Duration,
    /// An account without a sign of life for this long is restarted.
    pub patience: Duration,
    /// How long what an account has used stays in memory.
    pub rest_after: Duration,
    pub group_cache: GroupCache,
}

impl Service {
    /// Starts the committer, the fleet and the dispatcher. Must run inside an actix system.
    pub fn start(config: ServiceConfig) -> Result<Self, Error> {
        let (metrics, critical) = (Arc::new(Metrics::default()), CriticalActors::default());
        let (store, new_deliveries) = open_store(config.records, config.hooks.clone(), metrics.clone())?;
        let epoch = open_log(&store)?;
        let (clock, entropy) = (config.clock, config.entropy);
        let allow_private = config.allow_private_webhooks;
        let dispatcher = Dispatcher::new(
            store.clone(),
            clock.clone(),
            &entropy,
            allow_private,
            config.retry_steps,
            new_deliveries,
            (config.hooks.clone(), critical.guard("dispatcher")),
        )
        .map_err(|error| Error::Network(error.to_string()))?
        .start();
        let network = config.network.clone();
        let environment = Environment {
            store: store.clone(),
            network: config.network,
            settings: Arc::new(config.settings),
            clock: clock.clone(),
            entropy: entropy.clone(),
            hooks: config.hooks,
            metrics: metrics.clone(),
            keep_events: config.keep_events,
            patience: config.patience,
            rest_after: config.rest_after,
            group_cache: config.group_cache,
        };
        if let Some(source) = config.version_source {
            let version = environment.settings.version.clone();
            actix::spawn(Refresher { store: store.clone(), clock: clock.clone(), version, source }.run());
        }
        let fleet = Fleet::load(environment, config.arbiters, critical.guard("fleet"))?.start();
        let log = EventLog { store: store.clone(), epoch: epoch.unwrap_or_default() };
        Ok(Self {
            fleet,
            dispatcher,
            store,
            clock,
            entropy,
            allow_private,
            log,
            metrics,
            disk: config.disk,
            network,
            critical,
        })
    }

    /// Writes the records of a first start. Await it once after [`start`](Self::start).
    pub async fn prepare(&mut self) -> Result<(), Error> {
        if !self.log.epoch.is_empty() {
            return Ok(());
        }
        self.log.epoch = random_hex::<4>(&mut self.entropy.fork());
        let mut writes = ChangeSet::<owner::Server>::default();
        put_format(&mut writes);
        writes.put(kind::META, "epoch", self.log.epoch.as_str());
        Ok(self.store.commit_server(writes).await?)
    }

    /// Drains every account within this time, writes waiting commits, and stops.
    pub async fn shut_down(&self, within: Duration) -> Result<(), Error> {
        // A fleet that has stopped needs no request.
        if self.fleet.send(ShutDown(within)).await == Ok(false) {
            tracing::warn!("shutdown timed out, accepted work continues with the next start");
        }
        let _ = self.dispatcher.send(Stop).await;
        Ok(self.store.stop().await?)
    }
}
