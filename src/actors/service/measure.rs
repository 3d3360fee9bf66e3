//! What is measured when the metrics are asked for.

use crate::actors::committer::rows::{EventRow, decode_delivery};
use crate::actors::error::ActorError as Error;
use crate::actors::metrics::Measured;
use crate::actors::service::backup::BACKED_UP;
use crate::actors::service::state::Service;
use crate::base::ids::AccountKey;
use crate::storage::kind;
use crate::webhook::{DeliveryStatus, position_of};

/// Deliveries that one look at the metrics counts, at most.
const MAX_COUNTED: usize = 100_000;

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
        let mut oldest = None;
        for (key, value) in records.scan(AccountKey::SERVER, kind::DELIVERY, &[], None, MAX_COUNTED)? {
            match decode_delivery(&value).map(|delivery| delivery.status) {
                Some(DeliveryStatus::Pending) => {
                    measured.pending += 1;
                    oldest = oldest.into_iter().chain(position_of(&key).map(|(_, position)| position)).min();
                }
                Some(DeliveryStatus::Dead) => measured.dead += 1,
                None => {}
            }
        }
        if let Some(position) = oldest {
            let position = position.to_be_bytes();
            let owner = records.get(AccountKey::SERVER, kind::EVENT_INDEX, &position)?;
            let owner = owner.and_then(|owner| owner.as_slice().try_into().ok()).map(AccountKey::from_bytes);
            let event = owner.map(|owner| records.get(owner, kind::EVENT, &position)).transpose()?.flatten();
            let at = event.as_deref().and_then(EventRow::decode).map(|event| event.at);
            measured.oldest_seconds = at.map_or(0, |at| self.now().after(at).as_secs());
        }
        Ok(measured)
    }
}
