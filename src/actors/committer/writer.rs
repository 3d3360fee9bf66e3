//! The committer: one thread that writes. It gathers the turns of many accounts into one batch and one sync, applies each
//! account's turns in order, and alone assigns positions in the event log.
//!
//! Invariant: nothing is acknowledged before its sync; after a failed write nothing more is written.

use crate::actors::metrics::Metrics;
use crate::actors::supervision::boundary::guard;
use crate::base::hooks::{Hooks, Point};
use crate::base::ids::{AccountKey, EndpointId, Generation};
use crate::base::time::Timestamp;
use crate::storage::{Batch, ChangeSet, Changes, NewEvent, Records, StorageError, Write, kind, owner};
use crate::webhook::{Delivery, DeliveryStatus, Endpoint, delivery_key};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// Turns gathered into one sync.
const MAX_GROUP: usize = 512;
const FORMAT: u8 = 1;
const EVENT_FORMAT: u8 = 2;

/// Resolves when the request is durable, or is refused.
pub type Committed = Pin<Box<dyn Future<Output = Result<(), StorageError>> + Send>>;

type Stage = Box<dyn FnOnce(&mut Committer, &mut Batch) -> Result<(), StorageError> + Send>;
type Done = oneshot::Sender<Result<(), StorageError>>;

enum Request {
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

/// A delivery that has just become durable.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    pub endpoint: EndpointId,
    pub position: u64,
    pub row: Delivery,
}

/// A row of the event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    pub at: Timestamp,
    pub kind: String,
    pub body: String,
}

impl EventRow {
    fn encode(event: &NewEvent) -> Vec<u8> {
        let length = u8::try_from(event.kind.len()).unwrap_or(u8::MAX);
        let at = event.at.0.to_be_bytes();
        [&[EVENT_FORMAT], &at[..], &[length], event.kind.as_bytes(), event.body.as_bytes()].concat()
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&EVENT_FORMAT, rest) = bytes.split_first()? else { return None };
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first()?;
        let (kind, body) = rest.split_at_checked(usize::from(*length))?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(Self { at: Timestamp(u64::from_be_bytes(*at)), kind: text(kind)?, body: text(body)? })
    }
}

/// The way to the committer, and to what is committed.
#[derive(Clone)]
pub struct Store {
    requests: mpsc::UnboundedSender<Request>,
    pub records: Records,
    /// The position that the next event will get; changes with every commit of events.
    pub log_end: watch::Receiver<u64>,
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

    /// Fences off all older trees of the account; when it returns, nothing of theirs is on its way.
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

    /// Has the committer stage something between two commits; resolves with its result when that is durable.
    pub(in crate::actors) fn alone<R: Send + 'static>(
        &self,
        stage: impl FnOnce(&mut Committer, &mut Batch) -> Result<R, StorageError> + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = Result<R, StorageError>> + Send>> {
        let (result, staged) = oneshot::channel();
        let stage = move |committer: &mut Committer, batch: &mut Batch| {
            // A caller that has gone needs no result.
            let _ = result.send(stage(committer, batch)?);
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

    /// Resolves when nothing is written any more: after a failed write, or when it was stopped.
    pub async fn stopped(&self) {
        self.requests.closed().await;
    }

    /// Writes what is waiting, and stops.
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
}

/// The committer's state, on its thread.
pub struct Committer {
    pub(in crate::actors) records: Records,
    requests: mpsc::UnboundedReceiver<Request>,
    generations: HashMap<AccountKey, Generation>,
    pub(in crate::actors) endpoints: HashMap<EndpointId, Endpoint>,
    pub(in crate::actors) next_position: u64,
    log_end: watch::Sender<u64>,
    deliveries: mpsc::UnboundedSender<NewDelivery>,
    hooks: Arc<dyn Hooks>,
    metrics: Arc<Metrics>,
}

/// Starts the committer. The receiver gets every new delivery once it is durable.
pub fn open_store(
    records: Records,
    hooks: Arc<dyn Hooks>,
    metrics: Arc<Metrics>,
) -> Result<(Store, mpsc::UnboundedReceiver<NewDelivery>), StorageError> {
    let next_position = match records.last(AccountKey::SERVER, kind::EVENT_INDEX)? {
        Some((key, _)) => key.try_into().map(u64::from_be_bytes).unwrap_or(0) + 1,
        None => 1,
    };
    let endpoints = load_endpoints(&records)?.into_iter().map(|endpoint| (endpoint.id.clone(), endpoint)).collect();
    let (sender, requests) = mpsc::unbounded_channel();
    let (log_end, watching) = watch::channel(next_position);
    let (deliveries, new_deliveries) = mpsc::unbounded_channel();
    let committer = Committer {
        records: records.clone(),
        requests,
        generations: HashMap::new(),
        endpoints,
        next_position,
        log_end,
        deliveries,
        hooks,
        metrics,
    };
    std::thread::Builder::new()
        .name("committer".into())
        .spawn(move || committer.run())
        .map_err(|error| StorageError::Engine { action: "start its committer", why: error.to_string() })?;
    Ok((Store { requests: sender, records, log_end: watching }, new_deliveries))
}

/// All endpoints as stored.
pub(in crate::actors) fn load_endpoints(records: &Records) -> Result<Vec<Endpoint>, StorageError> {
    let rows = records.scan(AccountKey::SERVER, kind::ENDPOINT, &[], None, usize::MAX)?;
    rows.into_iter().map(|(key, value)| decode_endpoint(&key, &value)).collect()
}

pub(in crate::actors) fn decode_endpoint(key: &[u8], value: &[u8]) -> Result<Endpoint, StorageError> {
    let corrupt = StorageError::Corrupt { kind: kind::ENDPOINT.code(), key: hex::encode(key), what: "endpoint" };
    match value.split_first() {
        Some((&FORMAT, json)) => serde_json::from_slice(json).map_err(|_| corrupt),
        _ => Err(corrupt),
    }
}

impl Committer {
    fn run(mut self) {
        // A panic here is the end of all writing: every waiting request is answered by its dropped sender.
        if let Err(panic) = guard(|| self.serve()) {
            tracing::error!(%panic, "the committer went down; nothing more will be written");
        }
    }

    fn serve(&mut self) {
        let mut next = self.requests.blocking_recv();
        while let Some(first) = next.take() {
            let mut group = vec![first];
            while group.len() < MAX_GROUP && !matches!(group[0], Request::Alone { .. }) {
                match self.requests.try_recv() {
                    Ok(alone @ Request::Alone { .. }) => {
                        next = Some(alone);
                        break;
                    }
                    Ok(another) => group.push(another),
                    Err(_) => break,
                }
            }
            if self.commit_group(group).is_break() {
                return;
            }
            next = next.or_else(|| self.requests.blocking_recv());
        }
    }

    fn commit_group(&mut self, group: Vec<Request>) -> std::ops::ControlFlow<()> {
        let (mut batch, mut answers, mut stop) = (Batch::default(), Vec::new(), None);
        let (mut new_deliveries, mut asked) = (Vec::new(), Vec::new());
        for request in group {
            match request {
                Request::Begin { account, generation, done } => {
                    self.generations.insert(account, generation);
                    answers.push((done, self.records.engine().fence(account, generation.0)));
                }
                Request::Commit { account, generation, changes, asked: at, done } => {
                    asked.push(at);
                    let fenced = self.generations.get(&account).is_some_and(|current| *current > generation);
                    let staged = match fenced {
                        true => Err(StorageError::Fenced),
                        false => {
                            batch.epochs.insert(account, generation.0);
                            self.stage(&mut batch, account, changes, &mut new_deliveries)
                        }
                    };
                    answers.push((done, staged));
                }
                Request::Delivery { endpoint, position, row, done } => {
                    let staged = self.stage_delivery(&mut batch, &endpoint, position, row.as_deref());
                    answers.push((done, staged));
                }
                Request::Alone { stage, done } => {
                    let staged = stage(self, &mut batch);
                    if staged.is_err() {
                        batch = Batch::default();
                    }
                    answers.push((done, staged));
                }
                Request::Stop { done } => stop = Some(done),
            }
        }
        let written = match batch.writes.is_empty() {
            true => Ok(()),
            false => self.write(batch),
        };
        self.measure(&asked);
        if let Err(error) = &written {
            tracing::error!(%error, "a commit failed; the server must be restarted");
        } else {
            self.log_end.send_replace(self.next_position);
            for delivery in new_deliveries {
                // Without a dispatcher the rows wait in the store.
                let _ = self.deliveries.send(delivery);
            }
        }
        for (done, staged) in answers {
            let _ = done.send(staged.and(written.clone()));
        }
        match (stop, written) {
            (Some(done), written) => {
                let _ = done.send(written);
                std::ops::ControlFlow::Break(())
            }
            (None, Err(_)) => std::ops::ControlFlow::Break(()),
            (None, Ok(())) => std::ops::ControlFlow::Continue(()),
        }
    }

    fn measure(&self, asked: &[Instant]) {
        self.metrics.turns.inc_by(asked.len() as u64);
        if !asked.is_empty() {
            self.metrics.commit_turns.observe(asked.len() as f64);
        }
        for at in asked {
            self.metrics.commit_seconds.observe(at.elapsed().as_secs_f64());
        }
    }

    fn write(&self, batch: Batch) -> Result<(), StorageError> {
        self.hooks.reach(Point::Staged, "");
        self.records.engine().apply(batch)?;
        self.hooks.reach(Point::Applied, "");
        self.metrics.syncs.inc();
        self.records.engine().sync()?;
        self.hooks.reach(Point::Synced, "");
        Ok(())
    }

    fn stage(
        &mut self,
        batch: &mut Batch,
        account: AccountKey,
        changes: Changes,
        new_deliveries: &mut Vec<NewDelivery>,
    ) -> Result<(), StorageError> {
        for write in changes.writes {
            self.note_endpoint(&write)?;
            self.records.stage(batch, account, write)?;
        }
        for event in changes.events {
            let position = self.next_position;
            self.next_position += 1;
            let mut own = ChangeSet::<owner::Committer>::default();
            own.put(kind::EVENT, position.to_be_bytes(), EventRow::encode(&event));
            self.records.stage_set(batch, account, own)?;
            let mut global = ChangeSet::<owner::Committer>::default();
            global.put(kind::EVENT_INDEX, position.to_be_bytes(), *account.as_bytes());
            for endpoint in self.endpoints.values().filter(|endpoint| endpoint.wants(&event)) {
                let row = Delivery {
                    event: event.id.to_string(),
                    account,
                    chat: event.chat.clone(),
                    failed: 0,
                    next_at: Timestamp(0),
                    status: DeliveryStatus::Pending,
                    last_error: None,
                };
                global.put(kind::DELIVERY, delivery_key(&endpoint.id, position), encode_delivery(&row));
                new_deliveries.push(NewDelivery { endpoint: endpoint.id.clone(), position, row });
            }
            self.records.stage_set(batch, AccountKey::SERVER, global)?;
        }
        Ok(())
    }

    fn stage_delivery(
        &mut self,
        batch: &mut Batch,
        endpoint: &EndpointId,
        position: u64,
        row: Option<&Delivery>,
    ) -> Result<(), StorageError> {
        let key = delivery_key(endpoint, position);
        let mut set = ChangeSet::<owner::Committer>::default();
        match row {
            Some(row) => set.put(kind::DELIVERY, key, encode_delivery(row)),
            None => set.delete(kind::DELIVERY, key),
        }
        self.records.stage_set(batch, AccountKey::SERVER, set)
    }

    /// Endpoints decide who gets the events that follow.
    fn note_endpoint(&mut self, write: &Write) -> Result<(), StorageError> {
        if write.kind != kind::ENDPOINT.code() {
            return Ok(());
        }
        match &write.value {
            Some(value) => {
                let endpoint = decode_endpoint(&write.key, value)?;
                self.endpoints.insert(endpoint.id.clone(), endpoint);
            }
            None => self.endpoints.retain(|id, _| id.as_str().as_bytes() != write.key),
        }
        Ok(())
    }
}

fn encode_delivery(row: &Delivery) -> Vec<u8> {
    let mut out = vec![FORMAT];
    let written = serde_json::to_writer(&mut out, row);
    debug_assert!(written.is_ok(), "our records have string keys only");
    out
}

/// A stored delivery row.
pub(in crate::actors) fn decode_delivery(value: &[u8]) -> Option<Delivery> {
    value.split_first().filter(|(format, _)| **format == FORMAT).and_then(|(_, json)| serde_json::from_slice(json).ok())
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
