//! Webhook endpoints: create, list, delete.

use crate::actors::committer::idempotency::{IdempotentAnswer, put_answer};
use crate::actors::committer::rows::load_endpoints;
use crate::actors::error::ActorError as Error;
use crate::actors::service::state::Service;
use crate::base::ids::EndpointId;
use crate::storage::{ChangeSet, StorageError, kind, owner};
use crate::webhook::{Endpoint, NewEndpoint, Secret, check_url};

const FORMAT: u8 = 1;

impl Service {
    pub async fn create_webhook(
        &self,
        new: NewEndpoint,
        remember: impl FnOnce(&Endpoint) -> Option<IdempotentAnswer>,
    ) -> Result<Endpoint, Error> {
        check_url(&new.url, self.allow_private)?;
        let mut rng = self.entropy.fork();
        let endpoint = Endpoint {
            id: EndpointId::generate(&mut rng),
            url: new.url,
            events: new.events,
            accounts: new.accounts,
            headers: new.headers,
            secrets: vec![Secret::generate(&mut rng)],
            disabled: false,
            created_at: self.clock.now(),
        };
        let json = serde_json::to_vec(&endpoint)
            .map_err(|error| StorageError::Engine { action: "write a webhook", why: error.to_string() })?;
        let mut writes = ChangeSet::<owner::Server>::default();
        writes.put(kind::ENDPOINT, endpoint.id.as_str(), [&[FORMAT], &json[..]].concat());
        put_answer(&mut writes, remember(&endpoint));
        self.store.commit_server(writes).await?;
        Ok(endpoint)
    }

    pub fn webhooks(&self) -> Result<Vec<Endpoint>, Error> {
        Ok(load_endpoints(&self.store.records)?)
    }

    pub async fn delete_webhook(&self, id: &str) -> Result<(), Error> {
        if !self.webhooks()?.iter().any(|endpoint| endpoint.id.as_str() == id) {
            return Err(Error::NoWebhook(id.to_owned()));
        }
        let mut writes = ChangeSet::<owner::Server>::default();
        writes.delete(kind::ENDPOINT, id);
        Ok(self.store.commit_server(writes).await?)
    }
}
