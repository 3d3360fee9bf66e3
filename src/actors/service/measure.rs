//! `/metrics`: values that are measured for each scrape.

use crate::actors::committer::rows::EventRow;
use crate::actors::committer::store::Store;
use crate::actors::error::ActorError as Error;
use crate::actors::metrics::Measured;
use crate::actors::service::operations::BACKED_UP;
use crate::actors::service::state::Service;
use crate::base::ids::AccountKey;
use crate::base::time::Timestamp;
use crate::storage::kind;

fn read_secs(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl Service {
    /// All metrics in the Prometheus text format.
    pub async fn metrics(&self) -> Result<String, Error> {
        let accounts = self.accounts().await?;
        Ok(self.metrics.render(accounts.iter().map(|account| &account.view), &self.measure()?))
    }

    fn measure(&self) -> Result<Measured, Error> {
        let records = &self.store.records;
        let mut measured = Measured {
            free_bytes: (self.disk.free_space)(),
            store_bytes: (self.disk.store_size)(),
            backup: records.get(AccountKey::SERVER, kind::META, BACKED_UP.as_bytes())?.as_deref().and_then(read_secs),
            ..Measured::default()
        };
        measure_deliveries(&self.store, self.now(), &mut measured)?;
        Ok(measured)
    }
}

/// Unfinished webhook deliveries, and the age of the oldest event among them.
fn measure_deliveries(store: &Store, now: Timestamp, measured: &mut Measured) -> Result<(), Error> {
    let records = &store.records;
    let counts = *store.deliveries.borrow();
    (measured.pending, measured.dead) = (counts.pending, counts.dead);
    if let Some(position) = counts.oldest {
        let position = position.to_be_bytes();
        let owner = records.get(AccountKey::SERVER, kind::EVENT_INDEX, &position)?;
        let owner = owner.and_then(|owner| owner.as_slice().try_into().ok()).map(AccountKey::from_bytes);
        let event = owner.map(|owner| records.get(owner, kind::EVENT, &position)).transpose()?.flatten();
        let at = event.as_deref().and_then(EventRow::decode).map(|event| event.at);
        measured.oldest_seconds = at.map_or(0, |at| now.after(at).as_secs());
    }
    Ok(())
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
