//! Planned restarts of a tree: on request, with other settings, or with a new device.

use crate::account::commands::Messages;
use crate::account::{Input, ReplyTo, provision};
use crate::actors::error::ActorError;
use crate::actors::fleet::registry::{Entry, Fleet, Tree};
use crate::actors::tree::inputs::Request;
use crate::actors::tree::options::AccountOptions;
use crate::base::ids::{AccountId, AccountKey, Generation};
use actix::{ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::sync::oneshot;

/// Time for a tree to finish accepted commands.
const PATIENCE: Duration = Duration::from_secs(5);

impl Fleet {
    /// Detaches the account's tree and raises the generation, so that commits after the next fence are rejected.
    fn end_tree(entry: &mut Entry) -> (AccountKey, Generation, Option<Tree>) {
        entry.generation = entry.generation.next();
        (entry.record.key, entry.generation, entry.tree.take())
    }

    fn entry_of(&mut self, id: &AccountId) -> Result<&mut Entry, ActorError> {
        let found = self.accounts.get_mut(id).filter(|entry| !entry.deleting);
        found.ok_or_else(|| ActorError::NoAccount(id.to_string()))
    }
}

async fn drain(tree: Option<Tree>) {
    if let Some(tree) = tree {
        let _ = tokio::time::timeout(PATIENCE, tree.drain()).await;
    }
}

/// Restarts an account's tree.
#[derive(Message)]
#[rtype(result = "Result<(), ActorError>")]
pub(in crate::actors) struct Restart(pub(in crate::actors) AccountId);

impl Handler<Restart> for Fleet {
    type Result = ResponseActFuture<Self, Result<(), ActorError>>;

    fn handle(&mut self, Restart(id): Restart, _: &mut Context<Self>) -> Self::Result {
        let entry = match self.entry_of(&id) {
            Ok(entry) => entry,
            Err(error) => return Box::pin(async move { Err(error) }.into_actor(self)),
        };
        entry.quarantine = None;
        entry.restarts.clear();
        let (.., tree) = Self::end_tree(entry);
        Box::pin(drain(tree).into_actor(self).map(move |(), fleet, ctx| {
            fleet.launch(&id, ctx);
            Ok(())
        }))
    }
}

/// Gives a logged-out account a new device, and deletes the old device's records.
#[derive(Message)]
#[rtype(result = "Result<(), ActorError>")]
pub(in crate::actors) struct Reprovision(pub(in crate::actors) AccountId);

impl Handler<Reprovision> for Fleet {
    type Result = ResponseActFuture<Self, Result<(), ActorError>>;

    fn handle(&mut self, Reprovision(id): Reprovision, _: &mut Context<Self>) -> Self::Result {
        let entry = match self.entry_of(&id) {
            Ok(entry) => entry,
            Err(error) => return Box::pin(async move { Err(error) }.into_actor(self)),
        };
        let (key, generation, tree) = Self::end_tree(entry);
        let (store, mut rng) = (self.environment.store.clone(), self.environment.entropy.fork());
        let reprovisioned = async move {
            if let Some(tree) = &tree {
                let (reply, replied) = oneshot::channel();
                // Queued messages fail: the old device is gone.
                let fail_queue = Box::new(|token| {
                    let command = Messages::FailQueue { reply: ReplyTo::new(token) }.into();
                    Input::Command(Box::new(command), None)
                });
                if tree.address.send(Request(fail_queue, reply)).await == Ok(true) {
                    let _ = tokio::time::timeout(PATIENCE, replied).await;
                }
            }
            drain(tree).await;
            store.begin(key, generation).await?;
            while store.forget_device(key).await? {}
            let changes = provision(&store.account(key), &mut rng);
            store.commit(key, generation, changes).await?;
            Ok::<_, ActorError>(())
        };
        Box::pin(reprovisioned.into_actor(self).map(move |reprovisioned, fleet, ctx| {
            fleet.launch(&id, ctx);
            reprovisioned
        }))
    }
}

/// Changes an account's settings. `None` leaves a field unchanged.
#[derive(Message)]
#[rtype(result = "Result<(), ActorError>")]
pub(in crate::actors) struct Change {
    pub(in crate::actors) id: AccountId,
    pub(in crate::actors) label: Option<Option<String>>,
    pub(in crate::actors) metadata: Option<Map<String, Value>>,
    pub(in crate::actors) options: Option<AccountOptions>,
}

impl Handler<Change> for Fleet {
    type Result = ResponseActFuture<Self, Result<(), ActorError>>;

    fn handle(&mut self, change: Change, _: &mut Context<Self>) -> Self::Result {
        let Change { id, label, metadata, options } = change;
        let entry = match self.entry_of(&id) {
            Ok(entry) => entry,
            Err(error) => return Box::pin(async move { Err(error) }.into_actor(self)),
        };
        let mut record = entry.record.clone();
        record.label = label.unwrap_or(record.label);
        record.metadata = metadata.unwrap_or(record.metadata);
        record.options = options.unwrap_or(record.options);
        let is_reloaded = record.options != entry.record.options;
        entry.record = record.clone();
        let tree = if is_reloaded { Self::end_tree(entry).2 } else { None };
        let (store, named) = (self.environment.store.clone(), id.clone());
        let changed = async move {
            store.commit_server(record.to_writes(&named)?).await?;
            drain(tree).await;
            Ok::<_, ActorError>(())
        };
        Box::pin(changed.into_actor(self).map(move |changed, fleet, ctx| {
            if is_reloaded {
                fleet.launch(&id, ctx);
            }
            changed
        }))
    }
}
