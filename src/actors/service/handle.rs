//! A handle to one account: typed calls, reads of committed records, and its view.

use crate::account::{AccountError, AccountView, Command, Input, Once, Refusal, Reply, ReplyTo};
use crate::actors::committer::store::Store;
use crate::actors::error::ActorError;
use crate::actors::fleet::calls::{Call, KeyOf, List, Watch};
use crate::actors::fleet::record::AccountInfo;
use crate::actors::fleet::registry::Fleet;
use crate::base::ids::{AccountId, RequestFingerprint};
use crate::storage::AccountStore;
use actix::Addr;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// One account of the fleet. It may not exist: then every method answers `NoAccount`.
#[derive(Clone)]
pub struct AccountHandle {
    id: AccountId,
    fleet: Addr<Fleet>,
    store: Store,
}

impl AccountHandle {
    pub(in crate::actors) fn new(id: AccountId, fleet: Addr<Fleet>, store: Store) -> Self {
        Self { id, fleet, store }
    }

    /// Runs a command on the account. A refusal of the feature becomes an [`ActorError::Refused`].
    pub async fn call<T, E>(
        &self,
        command: impl FnOnce(ReplyTo<T, E>) -> Command + Send + 'static,
    ) -> Result<T, ActorError>
    where
        T: Send + 'static,
        E: Refusal + Send + 'static,
    {
        self.ask(move |reply| Input::Command(Box::new(command(reply)), None), false).await?.map_err(ActorError::refused)
    }

    /// The same under an `Idempotency-Key`: a repetition gets the answer of the first.
    pub async fn call_once<T, E>(
        &self,
        fingerprint: Option<RequestFingerprint>,
        command: impl FnOnce(ReplyTo<T, E>) -> Command + Send + 'static,
    ) -> Result<T, ActorError>
    where
        T: DeserializeOwned + Send + 'static,
        E: Refusal + Send + 'static,
    {
        let input = move |reply: ReplyTo<T, E>| {
            let once = fingerprint.map(|fingerprint| Once::new(fingerprint, &reply));
            Input::Command(Box::new(command(reply)), once)
        };
        self.ask(input, false).await?.map_err(ActorError::refused)
    }

    /// Asks with any input, and returns the feature's own refusal. `release` ends a quarantine first.
    pub(in crate::actors) async fn ask<T, E>(
        &self,
        input: impl FnOnce(ReplyTo<T, E>) -> Input + Send + 'static,
        release: bool,
    ) -> Result<Result<T, E>, ActorError>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let make = Box::new(move |token| input(ReplyTo::new(token)));
        let call = Call { id: self.id.clone(), make, release };
        let reply = self.fleet.send(call).await.map_err(|_| ActorError::ShuttingDown)??;
        match reply {
            Reply::Answer(answer) => answer.downcast().map(|answer| *answer).map_err(|_| ActorError::Restarting),
            Reply::Repeated(repeated) => Err(ActorError::Repeated(repeated)),
        }
    }

    pub fn id(&self) -> &AccountId {
        &self.id
    }

    /// The account as it is now.
    pub async fn info(&self) -> Result<AccountInfo, ActorError> {
        let found = self.fleet.send(List(Some(self.id.clone()))).await.map_err(|_| ActorError::ShuttingDown)?.pop();
        found.ok_or_else(|| ActorError::NoAccount(self.id.to_string()))
    }

    /// Reads committed records.
    pub async fn read<T>(&self, query: impl FnOnce(&AccountStore) -> Result<T, AccountError>) -> Result<T, ActorError> {
        let key = self.fleet.send(KeyOf(self.id.clone())).await.map_err(|_| ActorError::ShuttingDown)??;
        Ok(query(&self.store.account(key))?)
    }

    /// Watches the account's view.
    pub async fn watch(&self) -> Result<watch::Receiver<AccountView>, ActorError> {
        self.fleet.send(Watch(self.id.clone())).await.map_err(|_| ActorError::ShuttingDown)?
    }
}
