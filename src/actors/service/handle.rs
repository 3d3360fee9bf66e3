//! A handle of one account: commands, reads, its view. Capabilities need no other access.

use crate::account::{AccountView, Command, Reply};
use crate::actors::committer::store::Store;
use crate::actors::error::ActorError as Error;
use crate::actors::fleet::calls::{Call, KeyOf, Watch};
use crate::actors::fleet::registry::Fleet;
use crate::base::ids::{AccountId, AccountKey};
use crate::storage::AccountStore;
use actix::Addr;
use tokio::sync::watch;

pub struct AccountHandle {
    pub(super) id: AccountId,
    pub(super) fleet: Addr<Fleet>,
    pub(super) store: Store,
}

impl AccountHandle {
    /// Runs a command on the account.
    pub async fn call(&self, command: Command) -> Result<Reply, Error> {
        self.fleet.send(Call(self.id.clone(), command)).await.map_err(|_| Error::ShuttingDown)?
    }

    /// Reads the account's committed records, without a turn.
    pub async fn read<R>(&self, query: impl FnOnce(&AccountStore) -> R) -> Result<R, Error> {
        Ok(query(&self.store.account(self.key().await?)))
    }

    /// The account's view, and its changes.
    pub async fn watch(&self) -> Result<watch::Receiver<AccountView>, Error> {
        self.fleet.send(Watch(self.id.clone())).await.map_err(|_| Error::ShuttingDown)?
    }

    pub(super) async fn key(&self) -> Result<AccountKey, Error> {
        self.fleet.send(KeyOf(self.id.clone())).await.map_err(|_| Error::ShuttingDown)?
    }
}
