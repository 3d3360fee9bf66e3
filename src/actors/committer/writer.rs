//! The committer: the one thread that writes. It groups the turns of many accounts into one batch and one sync, applies each
//! account's turns in order, and assigns the positions of the event log.
//!
//! Invariant: no request is answered before its sync; after a failed write the committer writes no more.

use crate::actors::committer::ledger::{DeliveryCounts, Ledger};
use crate::actors::committer::requests::Request;
use crate::actors::committer::rows::{NewDelivery, load_endpoints};
use crate::actors::committer::staging::Staging;
use crate::actors::committer::store::Store;
use crate::actors::metrics::Metrics;
use crate::actors::supervision::boundary::guard;
use crate::base::hooks::{Hooks, Point};
use crate::base::ids::{AccountKey, Generation};
use crate::storage::{Batch, Records, StorageError, kind};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Most requests in one group commit.
const MAX_GROUP: usize = 512;

/// The committer's state, on its thread.
struct Committer {
    staging: Staging,
    requests: mpsc::UnboundedReceiver<Request>,
    generations: HashMap<AccountKey, Generation>,
    log_end: watch::Sender<u64>,
    counts: watch::Sender<DeliveryCounts>,
    deliveries: mpsc::UnboundedSender<NewDelivery>,
    hooks: Arc<dyn Hooks>,
    metrics: Arc<Metrics>,
}

/// Starts the committer. The receiver gets the pending deliveries, then every new one once it is durable.
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
    let (ledger, pending) = Ledger::load(&records).unwrap_or_else(|error| {
        tracing::error!(%error, "stored deliveries cannot be loaded");
        Default::default()
    });
    let (counts, counted) = watch::channel(ledger.counts());
    for delivery in pending {
        // Without a dispatcher the rows wait in the store.
        let _ = deliveries.send(delivery);
    }
    let committer = Committer {
        staging: Staging { records: records.clone(), endpoints, next_position, ledger },
        requests,
        generations: HashMap::new(),
        log_end,
        counts,
        deliveries,
        hooks,
        metrics,
    };
    std::thread::Builder::new()
        .name("committer".into())
        .spawn(move || committer.run())
        .map_err(|error| StorageError::Engine { action: "start its committer", why: error.to_string() })?;
    Ok((Store { requests: sender, records, log_end: watching, deliveries: counted }, new_deliveries))
}

impl Committer {
    fn run(mut self) {
        // A panic here ends all writing: dropped senders answer the waiting requests.
        if let Err(panic) = guard(|| self.serve()) {
            tracing::error!(%panic, "committer panicked, writing stopped");
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
                    answers.push((done, self.staging.records.engine().fence(account, generation.0)));
                }
                Request::Commit { account, generation, changes, asked: at, done } => {
                    asked.push(at);
                    let fenced = self.generations.get(&account).is_some_and(|current| *current > generation);
                    let staged = match fenced {
                        true => Err(StorageError::Fenced),
                        false => {
                            batch.epochs.insert(account, generation.0);
                            self.staging.stage(&mut batch, account, changes, &mut new_deliveries)
                        }
                    };
                    answers.push((done, staged));
                }
                Request::Delivery { endpoint, position, row, done } => {
                    let staged = self.staging.stage_delivery(&mut batch, &endpoint, position, row.as_deref());
                    answers.push((done, staged));
                }
                Request::Alone { stage, done } => {
                    let staged = stage(&mut self.staging, &mut batch);
                    if staged.is_err() {
                        batch = Batch::default();
                        self.staging.ledger.discard();
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
            tracing::error!(%error, "commit failed, writing stopped");
        } else {
            self.log_end.send_replace(self.staging.next_position);
            if let Some(counts) = self.staging.ledger.apply() {
                self.counts.send_replace(counts);
            }
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
        self.metrics.commits.turns.inc_by(asked.len() as u64);
        if !asked.is_empty() {
            self.metrics.commits.turns_per_sync.observe(asked.len() as f64);
        }
        for at in asked {
            self.metrics.commits.seconds.observe(at.elapsed().as_secs_f64());
        }
    }

    fn write(&self, batch: Batch) -> Result<(), StorageError> {
        self.hooks.reach(Point::Staged, "");
        self.metrics.commits.rows.inc_by(batch.writes.len() as u64);
        let size = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| key.len() + value.as_ref().map_or(0, Vec::len);
        self.metrics.commits.bytes.inc_by(batch.writes.iter().map(size).sum::<usize>() as u64);
        self.staging.records.engine().apply(batch)?;
        self.hooks.reach(Point::Applied, "");
        self.metrics.commits.syncs.inc();
        self.staging.records.engine().sync()?;
        self.hooks.reach(Point::Synced, "");
        Ok(())
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
