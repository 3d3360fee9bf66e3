//! The dispatcher: delivers events to webhooks, in order within each lane (endpoint, chat), with retries.
//!
//! Invariant: a delivery's row is deleted only after a 2xx; the body of every attempt is the stored one, byte for byte.

use crate::actors::committer::rows::NewDelivery;
use crate::actors::committer::store::Store;
use crate::actors::supervision::boundary::{Panicked, guard_future};
use crate::actors::supervision::critical::CriticalActor;
use crate::actors::webhooks::attempt::{Client, Outcome, attempt, find};
use crate::base::entropy::Entropy;
use crate::base::hooks::{Hooks, Point};
use crate::base::ids::EndpointId;
use crate::base::time::Clock;
use crate::storage::{ChangeSet, kind, owner};
use crate::webhook::{Delivery, DeliveryStatus, next_wait, rest_of_wait};
use actix::fut::wrap_future;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, StreamHandler, WrapFuture};
use futures_util::stream::unfold;
use rand::rngs::StdRng;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Attempts under way at once to one endpoint: a hanging one holds up no other.
const MAX_ATTEMPTS: usize = 32;

/// The deliveries to one endpoint.
#[derive(Default)]
struct Target {
    /// By chat.
    lanes: HashMap<String, Queue>,
    /// Lanes whose head is to be attempted.
    ready: VecDeque<String>,
    under_way: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<NewDelivery>,
    /// The head is ready or under way, or its retry is scheduled.
    busy: bool,
}

pub(in crate::actors) struct Dispatcher {
    store: Store,
    clock: Arc<dyn Clock>,
    rng: StdRng,
    retry_steps: Vec<Duration>,
    client: Client,
    hooks: Arc<dyn Hooks>,
    targets: HashMap<EndpointId, Target>,
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
            client: Client::new(allow_private)?,
            hooks,
            targets: HashMap::new(),
            new: Some(new),
            _critical: critical,
        })
    }

    /// Makes the head of a lane ready, or schedules it.
    fn kick(&mut self, endpoint: &EndpointId, chat: String, ctx: &mut Context<Self>) {
        let Some(target) = self.targets.get_mut(endpoint) else { return };
        let Some(lane) = target.lanes.get_mut(&chat) else { return };
        if lane.busy {
            return;
        }
        let Some(head) = lane.waiting.front() else {
            target.lanes.remove(&chat);
            if target.lanes.is_empty() && target.under_way == 0 {
                self.targets.remove(endpoint);
            }
            return;
        };
        lane.busy = true;
        let wait = rest_of_wait(&self.retry_steps, &head.row, self.clock.now());
        self.ready_after(wait, endpoint, chat, ctx);
    }

    fn ready_after(&mut self, wait: Duration, endpoint: &EndpointId, chat: String, ctx: &mut Context<Self>) {
        if !wait.is_zero() {
            let endpoint = endpoint.clone();
            ctx.run_later(wait, move |dispatcher, ctx| {
                dispatcher.ready_after(Duration::ZERO, &endpoint, chat, ctx);
            });
            return;
        }
        if let Some(target) = self.targets.get_mut(endpoint) {
            target.ready.push_back(chat);
        }
        self.attempt_ready(endpoint, ctx);
    }

    /// Attempts the heads that are ready, as many as may be under way.
    fn attempt_ready(&mut self, endpoint: &EndpointId, ctx: &mut Context<Self>) {
        let Some(target) = self.targets.get_mut(endpoint) else { return };
        while target.under_way < MAX_ATTEMPTS
            && let Some(chat) = target.ready.pop_front()
        {
            let Some(head) = target.lanes.get(&chat).and_then(|lane| lane.waiting.front()).cloned() else { continue };
            target.under_way += 1;
            let hooks = self.hooks.clone();
            let attempt = attempt(self.store.clone(), self.client.clone(), self.clock.clone(), head.clone());
            let attempt = guard_future(async move {
                hooks.reach(Point::Attempted, "");
                attempt.await
            });
            ctx.spawn(wrap_future::<_, Self>(attempt).map(move |outcome, dispatcher, ctx| {
                let failed = |panic: Panicked| Outcome::Failed { why: panic.to_string(), retry_after: None };
                dispatcher.settle(chat, head, outcome.unwrap_or_else(failed), ctx);
            }));
        }
    }

    /// Stores an attempt's outcome; the lane continues when it is durable.
    fn settle(&mut self, chat: String, head: NewDelivery, outcome: Outcome, ctx: &mut Context<Self>) {
        if matches!(outcome, Outcome::Accepted) {
            self.hooks.reach(Point::Delivered, "");
        }
        let NewDelivery { endpoint, position, row } = head;
        let (row, retry) = match outcome {
            Outcome::Accepted | Outcome::Moot => (None, None),
            Outcome::Gone => {
                self.disable(&endpoint, ctx);
                let last_error = Some("the endpoint answered 410 and was disabled".to_owned());
                (Some(Delivery { status: DeliveryStatus::Dead, last_error, ..row }), None)
            }
            Outcome::Failed { why, retry_after } => {
                let failed = row.failed + 1;
                let wait = next_wait(&self.retry_steps, failed, retry_after, &mut self.rng);
                tracing::warn!(%endpoint, event = row.event, failed, why, "webhook delivery failed");
                let status = if wait.is_some() { DeliveryStatus::Pending } else { DeliveryStatus::Dead };
                let next_at = wait.map_or(row.next_at, |wait| self.clock.now().plus(wait));
                (Some(Delivery { failed, next_at, status, last_error: Some(why), ..row }), wait)
            }
        };
        if let Some(target) = self.targets.get_mut(&endpoint) {
            target.under_way -= 1;
            if let Some(lane) = target.lanes.get_mut(&chat) {
                match (&row, retry) {
                    (Some(row), Some(_)) => {
                        if let Some(head) = lane.waiting.front_mut() {
                            head.row = row.clone();
                        }
                    }
                    _ => drop(lane.waiting.pop_front()),
                }
            }
        }
        self.attempt_ready(&endpoint, ctx);
        let stored = self.store.delivery(endpoint.clone(), position, row.map(Box::new));
        ctx.spawn(stored.into_actor(self).map(move |result, dispatcher, ctx| {
            if let Err(error) = result {
                tracing::error!(%error, "delivery outcome cannot be stored, the delivery will be repeated");
            }
            match retry {
                Some(wait) => dispatcher.ready_after(wait, &endpoint, chat, ctx),
                None => {
                    if let Some(lane) = dispatcher.targets.get_mut(&endpoint).and_then(|it| it.lanes.get_mut(&chat)) {
                        lane.busy = false;
                    }
                    dispatcher.kick(&endpoint, chat, ctx);
                }
            }
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
    fn handle(&mut self, delivery: NewDelivery, ctx: &mut Context<Self>) {
        let (endpoint, chat) = (delivery.endpoint.clone(), delivery.row.chat.clone());
        let target = self.targets.entry(endpoint.clone()).or_default();
        target.lanes.entry(chat.clone()).or_default().waiting.push_back(delivery);
        self.kick(&endpoint, chat, ctx);
    }
}
