//! Trees that are ended on purpose and started anew: on request, with other settings, or for another link.

use crate::account::{AccountError, Command, Device};
use crate::actors::error::ActorError;
use crate::actors::fleet::registry::{AccountRecord, Entry, FORMAT, Fleet, Tree};
use crate::actors::tree::account::Request;
use crate::base::ids::{AccountId, AccountKey, Generation};
use crate::base::secret_text::SecretText;
use crate::storage::{ChangeSet, StorageError, kind, owner};
use actix::{ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a tree may take to finish what it has accepted.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is set for one account alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountOptions {
    /// The name shown under "linked devices"; it counts for the next link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
    /// The proxy to connect through; it may hold a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<SecretText>,
}

impl Fleet {
    /// Ends the account's tree: it finishes what it has accepted, and whatever it still commits after its time is fenced off.
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

/// Loads an account's tree anew.
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

/// Makes a new device of an account that was logged out: what belonged to the old one is forgotten.
#[derive(Message)]
#[rtype(result = "Result<(), ActorError>")]
pub(in crate::actors) struct Renew(pub(in crate::actors) AccountId);

impl Handler<Renew> for Fleet {
    type Result = ResponseActFuture<Self, Result<(), ActorError>>;

    fn handle(&mut self, Renew(id): Renew, _: &mut Context<Self>) -> Self::Result {
        let entry = match self.entry_of(&id) {
            Ok(entry) => entry,
            Err(error) => return Box::pin(async move { Err(error) }.into_actor(self)),
        };
        let (key, generation, tree) = Self::end_tree(entry);
        let (store, mut rng) = (self.environment.store.clone(), self.environment.entropy.fork());
        let renewed = async move {
            if let Some(tree) = &tree {
                let (reply, replied) = oneshot::channel();
                // What waits to be sent can no longer be: it has failed.
                if tree.address.send(Request(Command::GiveUpQueue, reply)).await == Ok(true) {
                    let _ = tokio::time::timeout(PATIENCE, replied).await;
                }
            }
            drain(tree).await;
            store.begin(key, generation).await?;
            while store.forget_device(key).await? {}
            let changes = Device::create(&store.account(key), &mut rng);
            store.commit(key, generation, changes).await?;
            Ok::<_, ActorError>(())
        };
        Box::pin(renewed.into_actor(self).map(move |renewed, fleet, ctx| {
            fleet.launch(&id, ctx);
            renewed
        }))
    }
}

/// Changes what is set for an account. `None` leaves a field as it is.
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
        let is_renewed = record.options != entry.record.options;
        entry.record = record.clone();
        let tree = if is_renewed { Self::end_tree(entry).2 } else { None };
        let (store, named) = (self.environment.store.clone(), id.clone());
        let changed = async move {
            store.commit_server(record.to_writes(&named)?).await?;
            drain(tree).await;
            Ok::<_, ActorError>(())
        };
        Box::pin(changed.into_actor(self).map(move |changed, fleet, ctx| {
            if is_renewed {
                fleet.launch(&id, ctx);
            }
            changed
        }))
    }
}

impl AccountRecord {
    /// The record as it is stored.
    pub(in crate::actors) fn to_writes(&self, id: &AccountId) -> Result<ChangeSet<owner::Server>, ActorError> {
        let json = serde_json::to_vec(self);
        let failed = |error: serde_json::Error| {
            let error = StorageError::Engine { action: "write an account", why: error.to_string() };
            ActorError::from(AccountError::from(error))
        };
        let mut writes = ChangeSet::<owner::Server>::default();
        writes.put(kind::ACCOUNT, id.as_str(), [&[FORMAT][..], &json.map_err(failed)?].concat());
        Ok(writes)
    }
}
