//! Background work of the fleet: erasure of accounts, retention of events, rotation of data keys.

use crate::account::commands::Connection;
use crate::account::{Input, ReplyTo};
use crate::actors::error::ActorError;
use crate::actors::fleet::registry::Fleet;
use crate::actors::tree::environment::Environment;
use crate::actors::tree::inputs::Request;
use crate::base::counts::Counts;
use crate::base::ids::{AccountId, AccountKey};
use crate::base::time::Timestamp;
use crate::storage::StorageError;
use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture};
use std::time::Duration;
use tokio::sync::oneshot;

/// Time for a deleted account to log out, and for its tree to end.
const LOGOUT_WAIT: Duration = Duration::from_secs(5);

impl Fleet {
    /// Rotates the data keys of these accounts one after another, in the background.
    fn rotate_data_keys(&self, accounts: Vec<AccountKey>, ctx: &mut Context<Self>) {
        let store = self.environment.store.clone();
        let rotating = async move {
            for account in &accounts {
                store.rotate_data_key(*account).await?;
            }
            Ok::<_, StorageError>(accounts.len())
        };
        ctx.spawn(rotating.into_actor(self).map(|result, _, _| match result {
            Ok(0) => {}
            Ok(accounts) => tracing::info!(accounts, "data keys rotated"),
            Err(error) => tracing::error!(%error, "data key rotation failed, the next start continues it"),
        }));
    }

    /// The server's own key and all accounts' keys.
    fn all_keys(&self) -> Vec<AccountKey> {
        [AccountKey::SERVER].into_iter().chain(self.accounts.values().map(|entry| entry.record.key)).collect()
    }

    /// Continues rotations and erasures that a crash interrupted.
    pub(in crate::actors) fn finish_upkeep(&self, ctx: &mut Context<Self>) {
        let records = &self.environment.store.records;
        // A key that cannot be read is reported by the next read of its rows.
        let begun = self.all_keys().into_iter().filter(|key| records.is_rotating(*key).unwrap_or_default());
        self.rotate_data_keys(begun.collect(), ctx);
        let store = self.environment.store.clone();
        let erasing = async move {
            for account in store.erasures()? {
                let counts = store.erase(account).await?;
                tracing::info!(?counts, "interrupted erasure finished");
            }
            Ok::<_, StorageError>(())
        };
        ctx.spawn(erasing.into_actor(self).map(|result, _, _| {
            if let Err(error) = result {
                tracing::error!(%error, "interrupted erasure failed, the next start continues it");
            }
        }));
    }

    /// Deletes expired events and idempotent answers.
    pub(in crate::actors) fn sweep(&mut self, ctx: &mut Context<Self>) {
        let Environment { store, clock, keep_events, .. } = self.environment.clone();
        let now = clock.now();
        let before = Timestamp(now.0.saturating_sub(u64::try_from(keep_events.as_millis()).unwrap_or(u64::MAX)));
        let swept = async move { store.sweep(before, now).await };
        ctx.spawn(swept.into_actor(self).map(|swept, _, _| match swept {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "expired events deleted"),
            Err(error) => tracing::error!(%error, "expired events cannot be deleted"),
        }));
    }
}

/// Logs an account out if it is connected, ends its tree, and erases all its records.
#[derive(Message)]
#[rtype(result = "Result<Counts, ActorError>")]
pub(in crate::actors) struct Delete(pub(in crate::actors) AccountId);

impl Handler<Delete> for Fleet {
    type Result = ResponseActFuture<Self, Result<Counts, ActorError>>;

    fn handle(&mut self, Delete(id): Delete, _: &mut Self::Context) -> Self::Result {
        let Some(entry) = self.accounts.get_mut(&id).filter(|entry| !entry.deleting) else {
            return Box::pin(async move { Err(ActorError::NoAccount(id.to_string())) }.into_actor(self));
        };
        entry.deleting = true;
        entry.generation = entry.generation.next();
        let (key, generation, tree) = (entry.record.key, entry.generation, entry.tree.take());
        let store = self.environment.store.clone();
        let named = id.clone();
        let erased = async move {
            if let Some(tree) = tree {
                let (reply, replied) = oneshot::channel();
                let log_out = Box::new(|token| {
                    let command = Connection::LogOut { reply: ReplyTo::new(token) }.into();
                    Input::Command(Box::new(command), None)
                });
                if tree.address.send(Request(log_out, reply)).await == Ok(true) {
                    // Erase even without the service's answer.
                    let _ = tokio::time::timeout(LOGOUT_WAIT, replied).await;
                }
                let _ = tokio::time::timeout(LOGOUT_WAIT, tree.drain()).await;
            }
            store.begin(key, generation).await?;
            store.begin_erasure(&named, key).await?;
            Ok::<_, ActorError>(store.erase(key).await?)
        };
        Box::pin(erased.into_actor(self).map(move |erased, fleet, _| {
            // The next start continues a failed erasure.
            fleet.accounts.remove(&id);
            erased
        }))
    }
}

/// Rotates all data keys in the background. Returns their number.
#[derive(Message)]
#[rtype(result = "usize")]
pub(in crate::actors) struct RotateDataKeys;

impl Handler<RotateDataKeys> for Fleet {
    type Result = usize;

    fn handle(&mut self, _: RotateDataKeys, ctx: &mut Self::Context) -> usize {
        let accounts = self.all_keys();
        let count = accounts.len();
        self.rotate_data_keys(accounts, ctx);
        count
    }
}
