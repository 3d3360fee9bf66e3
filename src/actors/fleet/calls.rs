//! Queries of accounts, and commands to one.

use crate::account::{AccountView, Reply};
use crate::actors::error::ActorError;
use crate::actors::fleet::record::AccountInfo;
use crate::actors::fleet::registry::{Entry, Fleet};
use crate::actors::tree::inputs::{MakeInput, Request};
use crate::base::ids::{AccountId, AccountKey};
use actix::{Handler, Message, ResponseActFuture, WrapFuture};
use tokio::sync::{oneshot, watch};

/// One account, or all.
#[derive(Message)]
#[rtype(result = "Vec<AccountInfo>")]
pub(in crate::actors) struct List(pub(in crate::actors) Option<AccountId>);

impl Handler<List> for Fleet {
    type Result = Vec<AccountInfo>;

    fn handle(&mut self, List(one): List, _: &mut Self::Context) -> Self::Result {
        let shown = |(id, entry): (&AccountId, &Entry)| (!entry.deleting).then(|| Self::info(id, entry));
        match one {
            Some(one) => self.accounts.get_key_value(&one).and_then(shown).into_iter().collect(),
            None => self.accounts.iter().filter_map(shown).collect(),
        }
    }
}

/// Watches an account's view.
#[derive(Message)]
#[rtype(result = "Result<watch::Receiver<AccountView>, ActorError>")]
pub(in crate::actors) struct Watch(pub(in crate::actors) AccountId);

impl Handler<Watch> for Fleet {
    type Result = Result<watch::Receiver<AccountView>, ActorError>;

    fn handle(&mut self, Watch(id): Watch, _: &mut Self::Context) -> Self::Result {
        let entry = self.accounts.get(&id).ok_or_else(|| ActorError::NoAccount(id.to_string()))?;
        Ok(entry.view.subscribe())
    }
}

/// The internal key of an account.
#[derive(Message)]
#[rtype(result = "Result<AccountKey, ActorError>")]
pub(in crate::actors) struct KeyOf(pub(in crate::actors) AccountId);

impl Handler<KeyOf> for Fleet {
    type Result = Result<AccountKey, ActorError>;

    fn handle(&mut self, KeyOf(id): KeyOf, _: &mut Self::Context) -> Self::Result {
        self.accounts.get(&id).map(|entry| entry.record.key).ok_or_else(|| ActorError::NoAccount(id.to_string()))
    }
}

/// Gives an account's tree an input that is answered.
#[derive(Message)]
#[rtype(result = "Result<Reply, ActorError>")]
pub(in crate::actors) struct Call {
    pub(in crate::actors) id: AccountId,
    pub(in crate::actors) make: MakeInput,
    /// Ends a quarantine first.
    pub(in crate::actors) release: bool,
}

impl Handler<Call> for Fleet {
    type Result = ResponseActFuture<Self, Result<Reply, ActorError>>;

    fn handle(&mut self, Call { id, make, release }: Call, ctx: &mut Self::Context) -> Self::Result {
        let Some(entry) = self.accounts.get_mut(&id).filter(|entry| !entry.deleting) else {
            return Box::pin(async move { Err(ActorError::NoAccount(id.to_string())) }.into_actor(self));
        };
        let released = release && entry.quarantine.take().is_some();
        if let Some(why) = entry.quarantine.clone() {
            return Box::pin(async move { Err(ActorError::Quarantined(why)) }.into_actor(self));
        }
        let tree = entry.tree();
        if released {
            entry.restarts.clear();
            self.launch(&id, ctx);
        }
        let call = async move {
            let tree = tree.await?;
            let (reply, answered) = oneshot::channel();
            let taken = tree.send(Request(make, reply)).await.map_err(|_| ActorError::Restarting)?;
            if !taken {
                return Err(ActorError::Busy);
            }
            answered.await.map_err(|_| ActorError::Restarting)
        };
        Box::pin(call.into_actor(self))
    }
}
