//! Staging of a turn: its rows go into a batch, its events get positions in the log, its deliveries get rows.

use crate::actors::committer::ledger::{Ledger, RowChange};
use crate::actors::committer::rows::{EventRow, NewDelivery, decode_endpoint, encode_delivery};
use crate::base::ids::{AccountKey, EndpointId};
use crate::base::time::Timestamp;
use crate::storage::{Batch, ChangeSet, Changes, Records, StorageError, Write, kind, owner};
use crate::webhook::{Delivery, DeliveryStatus, Endpoint, delivery_key};
use std::collections::HashMap;

/// State that staging needs: the endpoints, the next position, and the counts of deliveries.
pub(in crate::actors) struct Staging {
    pub(super) records: Records,
    pub(super) endpoints: HashMap<EndpointId, Endpoint>,
    /// The position of the next event.
    pub(super) next_position: u64,
    pub(super) ledger: Ledger,
}

impl Staging {
    pub(super) fn stage(
        &mut self,
        batch: &mut Batch,
        account: AccountKey,
        changes: Changes,
        new_deliveries: &mut Vec<NewDelivery>,
    ) -> Result<(), StorageError> {
        for write in changes.writes {
            self.note_endpoint(&write)?;
            self.records.stage(batch, account, write)?;
        }
        for event in changes.events {
            let position = self.next_position;
            self.next_position += 1;
            let mut own = ChangeSet::<owner::Committer>::default();
            own.put(kind::EVENT, position.to_be_bytes(), EventRow::encode(&event));
            self.records.stage_set(batch, account, own)?;
            let mut global = ChangeSet::<owner::Committer>::default();
            global.put(kind::EVENT_INDEX, position.to_be_bytes(), *account.as_bytes());
            for endpoint in self.endpoints.values().filter(|endpoint| endpoint.wants(&event)) {
                let row = Delivery {
                    event: event.id.to_string(),
                    account,
                    chat: event.chat.clone(),
                    failed: 0,
                    next_at: Timestamp(0),
                    status: DeliveryStatus::Pending,
                    last_error: None,
                };
                global.put(kind::DELIVERY, delivery_key(&endpoint.id, position), encode_delivery(&row));
                self.ledger.note(&endpoint.id, position, RowChange::Put(row.status));
                new_deliveries.push(NewDelivery { endpoint: endpoint.id.clone(), position, row });
            }
            self.records.stage_set(batch, AccountKey::SERVER, global)?;
        }
        Ok(())
    }

    pub(super) fn stage_delivery(
        &mut self,
        batch: &mut Batch,
        endpoint: &EndpointId,
        position: u64,
        row: Option<&Delivery>,
    ) -> Result<(), StorageError> {
        let key = delivery_key(endpoint, position);
        let mut set = ChangeSet::<owner::Committer>::default();
        let change = row.map_or(RowChange::Deleted(None), |row| RowChange::Put(row.status));
        self.ledger.note(endpoint, position, change);
        match row {
            Some(row) => set.put(kind::DELIVERY, key, encode_delivery(row)),
            None => set.delete(kind::DELIVERY, key),
        }
        self.records.stage_set(batch, AccountKey::SERVER, set)
    }

    /// Keeps the list of endpoints current: it decides which deliveries later events get.
    fn note_endpoint(&mut self, write: &Write) -> Result<(), StorageError> {
        if write.kind != kind::ENDPOINT.code() {
            return Ok(());
        }
        match &write.value {
            Some(value) => {
                let endpoint = decode_endpoint(&write.key, value)?;
                self.endpoints.insert(endpoint.id.clone(), endpoint);
            }
            None => self.endpoints.retain(|id, _| id.as_str().as_bytes() != write.key),
        }
        Ok(())
    }
}
