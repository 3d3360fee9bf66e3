//! Creation of an account.

use crate::account::load_or_create;
use crate::actors::committer::idempotency::{IdempotentAnswer, put_answer};
use crate::actors::error::ActorError;
use crate::actors::fleet::record::{AccountInfo, AccountRecord};
use crate::actors::fleet::registry::{Entry, Fleet};
use crate::actors::tree::environment::Environment;
use crate::actors::tree::options::AccountOptions;
use crate::base::ids::{AccountId, AccountKey, Generation};
use crate::storage::{AccountStore, Overlay};
use actix::{ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture};
use serde_json::{Map, Value};

/// Renders the idempotent answer from the created account.
type Remember = Box<dyn FnOnce(&AccountInfo) -> Option<IdempotentAnswer> + Send>;

/// Creates an account: commits its device first, then its record.
#[derive(Message)]
#[rtype(result = "Result<AccountInfo, ActorError>")]
pub(in crate::actors) struct Create {
    pub(in crate::actors) id: AccountId,
    pub(in crate::actors) label: Option<String>,
    pub(in crate::actors) metadata: Map<String, Value>,
    /// Gives the answer that is stored with the account.
    pub(in crate::actors) remember: Remember,
}

impl Handler<Create> for Fleet {
    type Result = ResponseActFuture<Self, Result<AccountInfo, ActorError>>;

    fn handle(&mut self, Create { id, label, metadata, remember }: Create, _: &mut Context<Self>) -> Self::Result {
        if self.accounts.contains_key(&id) {
            return Box::pin(async move { Err(ActorError::AccountExists(id.to_string())) }.into_actor(self));
        }
        let Environment { store, clock, entropy, .. } = self.environment.clone();
        let mut rng = entropy.fork();
        let record = AccountRecord {
            key: AccountKey::generate(&mut rng),
            label,
            metadata,
            created_at: clock.now(),
            options: AccountOptions::default(),
        };
        // Reserve the id at once, so that a second request for it is rejected.
        let entry = Entry::new(record.clone());
        let info = Self::info(&id, &entry);
        let remembered = remember(&info);
        self.accounts.insert(id.clone(), entry);
        let named = id.clone();
        let written = async move {
            let records = AccountStore::new(store.records.clone(), record.key, Overlay::default());
            let (_, changes) = load_or_create(&records, &mut rng)?;
            store.commit(record.key, Generation::default(), changes).await?;
            let mut writes = record.to_writes(&named)?;
            put_answer(&mut writes, remembered);
            store.commit_server(writes).await?;
            Ok::<_, ActorError>(())
        };
        Box::pin(written.into_actor(self).map(move |result, fleet, ctx| {
            if let Err(error) = result {
                fleet.accounts.remove(&id);
                return Err(error);
            }
            fleet.launch(&id, ctx);
            Ok(info)
        }))
    }
}
