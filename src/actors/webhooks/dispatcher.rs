//! The dispatcher: delivers events to webhooks, in order within each lane (endpoint, chat), with retries.
//!
//! Invariant: a delivery's row is deleted only after a 2xx; the body of every attempt is the stored one, byte for byte.

use crate::actors::committer::rows::NewDelivery;
use crate::actors::committer::store::Store;
use crate::actors::supervision::boundary::guard_future;
use crate::actors::supervision::critical::CriticalActor;
use crate::actors::webhooks::attempt::{Outcome, attempt, client, find};
use crate::base::entropy::Entropy;
use crate::base::hooks::{Hooks, Point};
use crate::base::ids::EndpointId;
use crate::base::time::Clock;
use crate::storage::{ChangeSet, kind, owner};
use crate::webhook::{Delivery, DeliveryStatus, next_attempt};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, StreamHandler, WrapFuture};
use futures_util::stream::unfold;
use rand::rngs::StdRng;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Attempts under way at once.
const MAX_ATTEMPTS: usize = 64;

type Lane = (EndpointId, String);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<NewDelivery>,
    /// An attempt is under way, or its retry is scheduled.
    busy: bool,
}

pub(in crate::actors) struct Dispatcher {
    store: Store,
    clock: Arc<dyn Clock>,
    rng: StdRng,
    retry_steps: Vec<Duration>,
    client: reqwest::Client,
    attempts: Arc<Semaphore>,
    hooks: Arc<dyn Hooks>,
    lanes: HashMap<Lane, Queue>,
    new: Option<mpsc::UnboundedReceiver<NewDelivery>>,
    _critical: CriticalActor,
}

impl Dispatcher {
    pub(in crate::actors) fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: &Entropy,
        allow_private: bool,
        retry_steps: Vec<Duration>,
        new: mpsc::UnboundedReceiver<NewDelivery>,
        (hooks, critical): (Arc<dyn Hooks>, CriticalActor),
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            store,
            clock,
            rng: entropy.fork(),
            retry_steps,
            client: client(allow_private)?,
            attempts: Arc::new(Semaphore::new(MAX_ATTEMPTS)),
            hooks,
            lanes: HashMap::new(),
            new: Some(new),
            _critical: critical,
        })
    }

    /// Attempts the head of a lane, or schedules it.
    fn kick(&mut self, lane: Lane, ctx: &mut Context<Self>) {
        let Some(queue) = self.lanes.get_mut(&lane) else { return };
        let Some(head) = queue.waiting.front().cloned() else {
            self.lanes.remove(&lane);
            return;
        };
        if queue.busy {
            return;
        }
        queue.busy = true;
        let wait = head.row.next_at.after(self.clock.now());
        if !wait.is_zero() {
            ctx.run_later(wait, move |dispatcher, ctx| dispatcher.free(lane, ctx));
            return;
        }
        let hooks = self.hooks.clone();
        let attempt =
            attempt(self.store.clone(), self.client.clone(), self.attempts.clone(), self.clock.clone(), head.clone());
        let attempt = guard_future(async move {
            hooks.reach(Point::Attempted, "");
            attempt.await
        });
        ctx.spawn(attempt.into_actor(self).map(move |outcome, dispatcher, ctx| {
            let outcome = outcome.unwrap_or_else(|panic| Outcome::Failed { why: panic.to_string(), retry_after: None });
            dispatcher.settle(lane, head, outcome, ctx);
        }));
    }

    fn free(&mut self, lane: Lane, ctx: &mut Context<Self>) {
        if let Some(queue) = self.lanes.get_mut(&lane) {
            queue.busy = false;
        }
        self.kick(lane, ctx);
    }

    /// Stores an attempt's outcome; the lane continues when it is durable.
    fn settle(&mut self, lane: Lane, head: NewDelivery, outcome: Outcome, ctx: &mut Context<Self>) {
        if matches!(outcome, Outcome::Accepted) {
            self.hooks.reach(Point::Delivered, "");
        }
        let NewDelivery { endpoint, position, row } = head;
        let (row, done) = match outcome {
            Outcome::Accepted | Outcome::Moot => (None, true),
            Outcome::Gone => {
                self.disable(&endpoint, ctx);
                let last_error = Some("the endpoint answered 410 and was disabled".to_owned());
                (Some(Delivery { status: DeliveryStatus::Dead, last_error, ..row }), true)
            }
            Outcome::Failed { why, retry_after } => {
                let failed = row.failed + 1;
                let next = next_attempt(&self.retry_steps, self.clock.now(), failed, retry_after, &mut self.rng);
                tracing::warn!(%endpoint, event = row.event, failed, why, "webhook delivery failed");
                let status = if next.is_some() { DeliveryStatus::Pending } else { DeliveryStatus::Dead };
                let next_at = next.unwrap_or(row.next_at);
                (Some(Delivery { failed, next_at, status, last_error: Some(why), ..row }), next.is_none())
            }
        };
        if let Some(queue) = self.lanes.get_mut(&lane) {
            match (&row, done) {
                (Some(row), false) => {
                    if let Some(head) = queue.waiting.front_mut() {
                        head.row = row.clone();
                    }
                }
                _ => drop(queue.waiting.pop_front()),
            }
        }
        let stored = self.store.delivery(endpoint, position, row.map(Box::new));
        ctx.spawn(stored.into_actor(self).map(move |result, dispatcher, ctx| {
            if let Err(error) = result {
                tracing::error!(%error, "delivery outcome cannot be stored, the delivery will be repeated");
            }
            dispatcher.free(lane, ctx);
        }));
    }

    fn disable(&self, id: &EndpointId, ctx: &mut Context<Self>) {
        let Ok(Some(mut endpoint)) = find(&self.store, id) else { return };
        endpoint.disabled = true;
        let Ok(json) = serde_json::to_vec(&endpoint) else { return };
        let mut writes = ChangeSet::<owner::Server>::default();
        writes.put(kind::ENDPOINT, id.as_str(), [&[1], &json[..]].concat());
        let stored = self.store.commit_server(writes);
        ctx.spawn(stored.into_actor(self).map(|result, _, _| {
            if let Err(error) = result {
                tracing::error!(%error, "webhook cannot be disabled");
            }
        }));
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(new) = self.new.take() {
            ctx.add_stream(unfold(new, |mut new| async move { new.recv().await.map(|next| (next, new)) }));
        }
    }
}

/// The server stops: attempts under way are aborted; the next server repeats them.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Stop;

impl Handler<Stop> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl StreamHandler<NewDelivery> for Dispatcher {
    fn handle(&mut self, delivery: NewDelivery, ctx: &mut Self::Context) {
        let lane = (delivery.endpoint.clone(), delivery.row.chat.clone());
        self.lanes.entry(lane.clone()).or_default().waiting.push_back(delivery);
        self.kick(lane, ctx);
    }
}
