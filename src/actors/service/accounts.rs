//! Accounts: create, list, show; and their events.

use crate::actors::committer::idempotency::IdempotentAnswer;
use crate::actors::error::ActorError as Error;
use crate::actors::fleet::calls::{KeyOf, List};
use crate::actors::fleet::create::Create;
use crate::actors::fleet::record::AccountInfo;
use crate::actors::service::events::{EventFilter, EventPage};
use crate::actors::service::state::Service;
use crate::base::ids::{AccountId, random_hex};
use serde_json::{Map, Value};
use std::time::Duration;

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

    /// A page of events after the cursor; waits for the first one when there is none yet.
    pub async fn events(
        &self,
        after: Option<&str>,
        limit: usize,
        filter: &EventFilter,
        wait: Duration,
    ) -> Result<EventPage, Error> {
        let account = match &filter.account {
            Some(id) => Some(self.ask(KeyOf(id.clone())).await??),
            None => None,
        };
        self.log.page(after, limit, account, filter.kind.as_deref(), wait).await
    }
}
