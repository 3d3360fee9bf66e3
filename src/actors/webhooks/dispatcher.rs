//! The dispatcher: brings events to webhooks, in order within each (endpoint, chat), again until they are accepted.
//!
//! Invariant: a delivery's row is deleted only after a 2xx; the body of every attempt is the stored one, byte for byte.

use crate::actors::committer::rows::{EventRow, NewDelivery, decode_endpoint};
use crate::actors::committer::store::Store;
use crate::actors::supervision::critical::CriticalActor;
use crate::base::entropy::Entropy;
use crate::base::hooks::{Hooks, Point};
use crate::base::ids::{AccountKey, EndpointId};
use crate::base::time::Clock;
use crate::storage::{ChangeSet, StorageError, kind, owner};
use crate::webhook::{Delivery, DeliveryStatus, Endpoint, is_public, next_attempt, signature};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, StreamHandler, WrapFuture};
use futures_util::stream::unfold;
use rand::rngs::StdRng;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Attempts under way at once.
const MAX_ATTEMPTS: usize = 64;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

type Lane = (EndpointId, String);

#[derive(Default)]
struct Queue {
    waiting: VecDeque<NewDelivery>,
    /// An attempt is under way, or a timer runs.
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

/// How an attempt ended.
enum Outcome {
    Accepted,
    Failed {
        why: String,
        retry_after: Option<Duration>,
    },
    /// 410: the endpoint wants no more.
    Gone,
    /// The endpoint or the event is no more.
    Moot,
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
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(ANSWER_TIMEOUT)
            .user_agent(concat!("wharf/", env!("CARGO_PKG_VERSION")));
        let builder = if allow_private { builder } else { builder.dns_resolver(Arc::new(PublicOnly)) };
        Ok(Self {
            store,
            clock,
            rng: entropy.fork(),
            retry_steps,
            client: builder.build()?,
            attempts: Arc::new(Semaphore::new(MAX_ATTEMPTS)),
            hooks,
            lanes: HashMap::new(),
            new: Some(new),
            _critical: critical,
        })
    }

    /// Attempts the head of a lane, or waits until it is due.
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
        let attempt = crate::actors::supervision::boundary::guard_future(async move {
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

    /// Stores how it went; the lane goes on when that is durable.
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
                tracing::error!(%error, "the outcome of a delivery cannot be stored; it will be made again");
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
                tracing::error!(%error, "a webhook cannot be disabled");
            }
        }));
    }
}

fn find(store: &Store, id: &EndpointId) -> Result<Option<Endpoint>, StorageError> {
    let key = id.as_str().as_bytes();
    store.records.get(AccountKey::SERVER, kind::ENDPOINT, key)?.map(|value| decode_endpoint(key, &value)).transpose()
}

async fn attempt(
    store: Store,
    client: reqwest::Client,
    attempts: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
    delivery: NewDelivery,
) -> Outcome {
    let Ok(_permit) = attempts.acquire().await else { return Outcome::Moot };
    let failed = |why: String| Outcome::Failed { why, retry_after: None };
    let endpoint = match find(&store, &delivery.endpoint) {
        Ok(Some(endpoint)) if !endpoint.disabled => endpoint,
        Ok(_) => return Outcome::Moot,
        Err(error) => return failed(error.to_string()),
    };
    let stored = store.records.get(delivery.row.account, kind::EVENT, &delivery.position.to_be_bytes());
    let event = match stored {
        Ok(bytes) => bytes.as_deref().and_then(EventRow::decode),
        Err(error) => return failed(error.to_string()),
    };
    let Some(event) = event else { return Outcome::Moot };
    let timestamp = clock.now().secs();
    let mut request = client.post(&endpoint.url);
    for (name, value) in &endpoint.headers {
        request = request.header(name, value);
    }
    let answer = request
        .header("content-type", "application/json")
        .header("webhook-id", &delivery.row.event)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signature(&endpoint.secrets, &delivery.row.event, timestamp, &event.body))
        .body(event.body)
        .send()
        .await;
    match answer {
        Ok(answer) if answer.status().is_success() => Outcome::Accepted,
        Ok(answer) if answer.status().as_u16() == 410 => Outcome::Gone,
        Ok(answer) => {
            let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            let why = format!("the endpoint answered {}", answer.status().as_u16());
            Outcome::Failed { why, retry_after: after.map(Duration::from_secs) }
        }
        Err(error) => failed(describe(&error)),
    }
}

/// The chain of causes, without the URL: it may hold a token.
fn describe(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { "no connection".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Resolves names to public addresses only: the connection goes to the very address that was checked.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<_> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("the name resolves to no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
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

/// The server stops: attempts under way are broken off, and made again by the next one.
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
