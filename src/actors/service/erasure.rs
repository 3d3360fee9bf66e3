//! Erasure of accounts and contacts, and rotation of data keys.

use crate::account::{Command, Reply};
use crate::actors::error::ActorError as Error;
use crate::actors::fleet::upkeep::{Delete, RotateDataKeys};
use crate::actors::service::state::Service;
use crate::base::counts::Counts;
use crate::base::ids::AccountId;
use crate::wire::{Jid, WireError};

impl Service {
    /// Rotates all data keys in the background. Returns their number.
    pub async fn rotate_data_keys(&self) -> Result<usize, Error> {
        self.ask(RotateDataKeys).await
    }

    /// Logs an account out and erases all its records. Returns the deleted rows by kind.
    pub async fn delete_account(&self, id: &AccountId) -> Result<Counts, Error> {
        self.ask(Delete(id.clone())).await?
    }

    /// Erases a contact: messages, events, sessions, identities. Returns the deleted rows by kind.
    pub async fn erase_contact(&self, id: &AccountId, contact: &str) -> Result<Counts, Error> {
        let bad = |error: WireError| Error::BadField { field: "contact", why: error.to_string() };
        let contact = Jid::parse_recipient(contact).map_err(bad)?;
        let Reply::Forgotten { addresses, mut counts } = self.handle(id).call(Command::Forget(contact)).await? else {
            return Err(Error::Restarting);
        };
        let account = self.handle(id).key().await?;
        counts.merge(self.store.erase_events(account, addresses).await?);
        Ok(counts)
    }
}
