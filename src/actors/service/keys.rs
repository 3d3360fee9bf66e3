//! Server records of the HTTP layer: API keys, and idempotent answers.

use crate::actors::committer::idempotency::{IdempotentAnswer, is_kept, put_answer, read_answer};
use crate::actors::error::ActorError as Error;
use crate::actors::service::state::Service;
use crate::base::ids::AccountKey;
use crate::storage::{ChangeSet, kind, owner};

impl Service {
    /// The API key stored under this name.
    pub fn server_value(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.store.records.get(AccountKey::SERVER, kind::API_KEY, name.as_bytes())?)
    }

    /// Stores an API key's hash.
    pub async fn put_server_value(&self, name: &str, value: Vec<u8>) -> Result<(), Error> {
        let mut writes = ChangeSet::<owner::Server>::default();
        writes.put(kind::API_KEY, name, value);
        Ok(self.store.commit_server(writes).await?)
    }

    /// The answer to the same request within the last day.
    pub fn idempotent(&self, key: &[u8; 32]) -> Result<Option<Vec<u8>>, Error> {
        let stored = self.store.records.get(AccountKey::SERVER, kind::SERVER_IDEMPOTENCY, key)?;
        let Some(stored) = stored else { return Ok(None) };
        let (at, answer) = read_answer(key, &stored)?;
        Ok(is_kept(at, self.clock.now()).then_some(answer))
    }

    /// Stores the answer to a request.
    pub async fn put_idempotent(&self, answer: IdempotentAnswer) -> Result<(), Error> {
        let mut writes = ChangeSet::<owner::Server>::default();
        put_answer(&mut writes, Some(answer));
        Ok(self.store.commit_server(writes).await?)
    }
}
