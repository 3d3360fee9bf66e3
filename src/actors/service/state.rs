//! What the layers above can ask for: one handle over the fleet, the store and the dispatcher.

use crate::account::Settings;
use crate::actors::committer::idempotency::{IdempotentAnswer, is_kept, put_answer, read_answer};
use crate::actors::committer::rows::{EventRow, load_endpoints};
use crate::actors::committer::store::Store;
use crate::actors::committer::upkeep::LOG_START;
use crate::actors::committer::writer::open_store;
use crate::actors::error::{ActorError, ActorError as Error};
use crate::actors::fleet::calls::{KeyOf, List};
use crate::actors::fleet::create::Create;
use crate::actors::fleet::record::AccountInfo;
use crate::actors::fleet::registry::Fleet;
use crate::actors::fleet::tree_down::ShutDown;
use crate::actors::metrics::Metrics;
use crate::actors::service::client_version::Refresher;
use crate::actors::service::disk::Disk;
use crate::actors::service::handle::AccountHandle;
use crate::actors::supervision::critical::CriticalActors;
use crate::actors::transport::network::Network;
use crate::actors::tree::environment::Environment;
use crate::actors::tree::group_cache::GroupCache;
use crate::actors::webhooks::dispatcher::{Dispatcher, Stop};
use crate::base::entropy::Entropy;
use crate::base::hooks::Hooks;
use crate::base::ids::{AccountId, AccountKey, EndpointId, random_hex};
use crate::base::time::{Clock, Timestamp};
use crate::storage::{ChangeSet, DATA_FORMAT, Records, StorageError, format_of, kind, owner, put_format};
use crate::webhook::{Endpoint, NewEndpoint, Secret, check_url};
use actix::{Actor, Addr};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

const FORMAT: u8 = 1;
/// Rows of the log that one request looks at, and that are read at a time.
const MAX_SCAN: usize = 20_000;
const SCAN_STEP: usize = 256;

/// The epoch of the event log, whose cursors are the only good ones; `None` before the first start has written it. Refuses data
/// of another format.
fn open_log(store: &Store) -> Result<Option<String>, StorageError> {
    match format_of(&store.records)? {
        Some(found) if found != DATA_FORMAT => Err(StorageError::Format { found, expected: DATA_FORMAT }),
        _ => {
            let epoch = store.records.get(AccountKey::SERVER, kind::META, b"epoch")?;
            Ok(epoch.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        }
    }
}

/// What the server is made of.
pub struct ServiceConfig {
    pub records: Records,
    pub network: Network,
    pub settings: Settings,
    /// Where the client version is asked for; `None` where it is set.
    pub version_source: Option<String>,
    pub allow_private_webhooks: bool,
    /// The waits between attempts of a webhook delivery.
    pub retry_steps: Vec<Duration>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<Entropy>,
    pub hooks: Arc<dyn Hooks>,
    /// Threads that account trees are spread over.
    pub arbiters: usize,
    pub disk: Disk,
    /// How long events stay in the log.
    pub keep_events: Duration,
    /// An account that does not move for so long is loaded anew.
    pub patience: Duration,
    pub group_cache: GroupCache,
}

#[derive(Clone)]
pub struct Service {
    fleet: Addr<Fleet>,
    dispatcher: Addr<Dispatcher>,
    pub(in crate::actors) store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
    allow_private: bool,
    epoch: String,
    pub(in crate::actors) metrics: Arc<Metrics>,
    pub(super) disk: Disk,
    pub(in crate::actors) network: Network,
    critical: CriticalActors,
}

/// Why a server cannot go on. What was acknowledged is durable; only a restart helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A write has failed. Nothing is read from that store again.
    #[error(
        "a write to the data folder failed, as the log says; what was acknowledged is durable; free space, and start again"
    )]
    Storage,
    #[error("the {0} went down by a panic, as the log says; what was acknowledged is durable; start again")]
    Actor(&'static str),
}

/// A page of the event log.
#[derive(Debug)]
pub struct EventPage {
    /// Events as stored: JSON.
    pub events: Vec<String>,
    /// Where to go on.
    pub next: String,
}

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    pub account: Option<AccountId>,
    pub kind: Option<String>,
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
            group_cache: config.group_cache,
        };
        if let Some(source) = config.version_source {
            let version = environment.settings.version.clone();
            actix::spawn(Refresher { store: store.clone(), clock: clock.clone(), version, source }.run());
        }
        let fleet = Fleet::load(environment, config.arbiters, critical.guard("fleet"))?.start();
        let epoch = epoch.unwrap_or_default();
        Ok(Self {
            fleet,
            dispatcher,
            store,
            clock,
            entropy,
            allow_private,
            epoch,
            metrics,
            disk: config.disk,
            network,
            critical,
        })
    }

    /// Writes what a first start must. To be awaited once after [`start`](Self::start).
    pub async fn prepare(&mut self) -> Result<(), Error> {
        if !self.epoch.is_empty() {
            return Ok(());
        }
        self.epoch = random_hex::<4>(&mut self.entropy.fork());
        let mut writes = ChangeSet::<owner::Server>::default();
        put_format(&mut writes);
        writes.put(kind::META, "epoch", self.epoch.as_str());
        Ok(self.store.commit_server(writes).await?)
    }

    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    /// The first key found under this name, for the key check of the layer above.
    pub fn server_value(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.store.records.get(AccountKey::SERVER, kind::API_KEY, name.as_bytes())?)
    }

    /// Stores an API key's hash.
    pub async fn put_server_value(&self, name: &str, value: Vec<u8>) -> Result<(), Error> {
        let mut writes = ChangeSet::<owner::Server>::default();
        writes.put(kind::API_KEY, name, value);
        Ok(self.store.commit_server(writes).await?)
    }

    /// Whether sends can be accepted.
    pub fn is_ready(&self) -> bool {
        self.critical.is_well() && self.fleet.connected() && self.dispatcher.connected() && self.store.is_writing()
    }

    /// The handle to an account; whether it exists shows with the first use.
    pub fn handle(&self, id: &AccountId) -> AccountHandle {
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

    pub async fn create_account(
        &self,
        id: Option<AccountId>,
        label: Option<String>,
        metadata: Map<String, Value>,
        remember: impl FnOnce(&AccountInfo) -> Option<IdempotentAnswer> + Send + 'static,
    ) -> Result<AccountInfo, Error> {
        let generated = || AccountId::parse(&format!("acc-{}", random_hex::<5>(&mut self.entropy.fork())));
        let id = id.map_or_else(generated, Ok).map_err(|error| Error::NoAccount(error.to_string()))?;
        self.ask(Create { id, label, metadata, remember: Box::new(remember) }).await?
    }

    pub async fn accounts(&self) -> Result<Vec<AccountInfo>, Error> {
        self.ask(List(None)).await
    }

    pub async fn account(&self, id: &AccountId) -> Result<AccountInfo, Error> {
        self.ask(List(Some(id.clone()))).await?.pop().ok_or_else(|| Error::NoAccount(id.to_string()))
    }

    /// Events after the cursor; waits for the first when there is none yet.
    pub async fn events(
        &self,
        after: Option<&str>,
        limit: usize,
        filter: &EventFilter,
        wait: Duration,
    ) -> Result<EventPage, Error> {
        let mut position = after.map_or(Ok(0), |cursor| self.position(cursor))?;
        let account = match &filter.account {
            Some(id) => Some(self.ask(KeyOf(id.clone())).await??),
            None => None,
        };
        let deadline = tokio::time::Instant::now() + wait;
        let mut log_end = self.store.log_end.clone();
        loop {
            log_end.borrow_and_update();
            let (events, end) = self.scan(position, limit, account, filter.kind.as_deref())?;
            position = end;
            if !events.is_empty() || tokio::time::timeout_at(deadline, log_end.changed()).await.is_err() {
                return Ok(EventPage { events, next: format!("{}-{position}", self.epoch) });
            }
        }
    }

    fn position(&self, cursor: &str) -> Result<u64, Error> {
        let (epoch, position) = cursor.rsplit_once('-').ok_or(ActorError::BadCursor)?;
        match position.parse() {
            Ok(position) if epoch == self.epoch && !self.is_forgotten(position)? => Ok(position),
            _ => Err(ActorError::BadCursor),
        }
    }

    /// Whether events after this position have grown too old.
    fn is_forgotten(&self, position: u64) -> Result<bool, Error> {
        let start = self.store.records.get(AccountKey::SERVER, kind::META, LOG_START)?;
        let start = start.and_then(|start| start.try_into().ok()).map(u64::from_be_bytes);
        Ok(start.is_some_and(|start| position.saturating_add(1) < start))
    }

    fn scan(
        &self,
        after: u64,
        limit: usize,
        account: Option<AccountKey>,
        wanted: Option<&str>,
    ) -> Result<(Vec<String>, u64), Error> {
        let (mut events, mut position) = (Vec::new(), after);
        let (mut looked_at, mut rows) = (0, Vec::new().into_iter());
        while events.len() < limit && looked_at < MAX_SCAN {
            let Some((key, owner)) = rows.next() else {
                let from = position.to_be_bytes();
                let index =
                    self.store.records.scan(AccountKey::SERVER, kind::EVENT_INDEX, &[], Some(&from), SCAN_STEP)?;
                if index.is_empty() {
                    break;
                }
                rows = index.into_iter();
                continue;
            };
            looked_at += 1;
            let (Ok(at), Ok(owner)) = (key.as_slice().try_into(), owner.as_slice().try_into()) else { continue };
            position = u64::from_be_bytes(at);
            let owner = AccountKey::from_bytes(owner);
            if account.is_some_and(|account| account != owner) {
                continue;
            }
            let stored = self.store.records.get(owner, kind::EVENT, &key)?;
            let Some(event) = stored.as_deref().and_then(EventRow::decode) else { continue };
            let fits = wanted.is_none_or(|wanted| match wanted.strip_suffix('*') {
                Some(prefix) => event.kind.starts_with(prefix),
                None => event.kind == wanted,
            });
            if fits {
                events.push(event.body);
            }
        }
        Ok((events, position))
    }

    pub async fn create_webhook(
        &self,
        new: NewEndpoint,
        remember: impl FnOnce(&Endpoint) -> Option<IdempotentAnswer>,
    ) -> Result<Endpoint, Error> {
        check_url(&new.url, self.allow_private)?;
        let mut rng = self.entropy.fork();
        let endpoint = Endpoint {
            id: EndpointId::generate(&mut rng),
            url: new.url,
            events: new.events,
            accounts: new.accounts,
            headers: new.headers,
            secrets: vec![Secret::generate(&mut rng)],
            disabled: false,
            created_at: self.clock.now(),
        };
        let json = serde_json::to_vec(&endpoint)
            .map_err(|error| StorageError::Engine { action: "write a webhook", why: error.to_string() })?;
        let mut writes = ChangeSet::<owner::Server>::default();
        writes.put(kind::ENDPOINT, endpoint.id.as_str(), [&[FORMAT], &json[..]].concat());
        put_answer(&mut writes, remember(&endpoint));
        self.store.commit_server(writes).await?;
        Ok(endpoint)
    }

    pub fn webhooks(&self) -> Result<Vec<Endpoint>, Error> {
        Ok(load_endpoints(&self.store.records)?)
    }

    pub async fn delete_webhook(&self, id: &str) -> Result<(), Error> {
        if !self.webhooks()?.iter().any(|endpoint| endpoint.id.as_str() == id) {
            return Err(Error::NoWebhook(id.to_owned()));
        }
        let mut writes = ChangeSet::<owner::Server>::default();
        writes.delete(kind::ENDPOINT, id);
        Ok(self.store.commit_server(writes).await?)
    }

    /// An answer that was given to the same request within the last day.
    pub fn idempotent(&self, key: &[u8; 32]) -> Result<Option<Vec<u8>>, Error> {
        let stored = self.store.records.get(AccountKey::SERVER, kind::SERVER_IDEMPOTENCY, key)?;
        let Some(stored) = stored else { return Ok(None) };
        let (at, answer) = read_answer(key, &stored)?;
        Ok(is_kept(at, self.clock.now()).then_some(answer))
    }

    /// Resolves when the server cannot go on.
    pub async fn failed(&self) -> Failure {
        tokio::select! {
            () = self.store.stopped() => Failure::Storage,
            actor = self.critical.failed() => Failure::Actor(actor),
        }
    }

    /// Has every account finish what it has accepted, within this time; writes what is on its way, and stops.
    pub async fn shut_down(&self, within: Duration) -> Result<(), Error> {
        // One that has gone before needs no telling.
        if self.fleet.send(ShutDown(within)).await == Ok(false) {
            tracing::warn!(
                "not every account was done in time; what was accepted is durable and goes on with the next start"
            );
        }
        let _ = self.dispatcher.send(Stop).await;
        Ok(self.store.stop().await?)
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
