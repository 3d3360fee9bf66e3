//! Accounts: create, list, show.

use crate::actors::committer::idempotency::IdempotentAnswer;
use crate::actors::error::ActorError as Error;
use crate::actors::fleet::calls::List;
use crate::actors::fleet::create::Create;
use crate::actors::fleet::record::AccountInfo;
use crate::actors::service::state::Service;
use crate::base::ids::{AccountId, random_hex};
use serde_json::{Map, Value};

impl Service {
    pub async fn create_account(
        &self,
        id: Option<AccountId>,
        label: Option<String>,
        metadata: Map<String, Value>,
        remember: impl FnOnce(&AccountInfo) -> Option<IdempotentAnswer> + Send + 'static,
    ) -> Result<AccountInfo, Error> {
        let generated = || AccountId::parse(&format!("acc-{}", random_hex::<5>(&mut self.entropy.fork())));
        let id = id.map_or_else(generated, Ok).map_err(|error| Error::NoAccount(error.to_string()))?;
        self.ask(Create { id, label, metadata, remember: Box::new(remember) }).await?
    }

    pub async fn accounts(&self) -> Result<Vec<AccountInfo>, Error> {
        self.ask(List(None)).await
    }

    pub async fn account(&self, id: &AccountId) -> Result<AccountInfo, Error> {
        self.ask(List(Some(id.clone()))).await?.pop().ok_or_else(|| Error::NoAccount(id.to_string()))
    }
}
