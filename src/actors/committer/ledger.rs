//! Counts of unfinished webhook deliveries, updated as their rows are written, so that `/metrics` scans no rows.

use crate::actors::committer::rows::{NewDelivery, decode_delivery};
use crate::base::ids::{AccountKey, EndpointId};
use crate::storage::{Records, StorageError, kind};
use crate::webhook::{DeliveryStatus, position_of};
use std::collections::BTreeSet;

/// Unfinished deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::actors) struct DeliveryCounts {
    pub(in crate::actors) pending: u64,
    pub(in crate::actors) dead: u64,
    /// The position of the oldest event with a pending delivery.
    pub(in crate::actors) oldest: Option<u64>,
}

/// A delivery row that a batch writes.
#[derive(Debug)]
pub(super) enum RowChange {
    Put(DeliveryStatus),
    /// With the row's status where the row was read.
    Deleted(Option<DeliveryStatus>),
}

#[derive(Default)]
pub(super) struct Ledger {
    pending: BTreeSet<(u64, EndpointId)>,
    dead: u64,
    /// Changes of the batch that is being staged.
    staged: Vec<(u64, EndpointId, RowChange)>,
}

impl Ledger {
    /// Reads all rows once. Returns the pending ones, in the order of their keys.
    pub(super) fn load(records: &Records) -> Result<(Self, Vec<NewDelivery>), StorageError> {
        let (mut ledger, mut pending) = (Self::default(), Vec::new());
        for (key, value) in records.scan(AccountKey::SERVER, kind::DELIVERY, &[], None, usize::MAX)? {
            let (Some((endpoint, position)), Some(row)) = (position_of(&key), decode_delivery(&value)) else {
                tracing::error!(key = hex::encode(&key), "stored delivery is unreadable and skipped");
                continue;
            };
            ledger.note(&endpoint, position, RowChange::Put(row.status));
            if row.status == DeliveryStatus::Pending {
                pending.push(NewDelivery { endpoint, position, row });
            }
        }
        ledger.apply();
        Ok((ledger, pending))
    }

    /// Records a row's change; [`apply`](Self::apply) counts it.
    pub(super) fn note(&mut self, endpoint: &EndpointId, position: u64, change: RowChange) {
        self.staged.push((position, endpoint.clone(), change));
    }

    /// Forgets the changes of a batch that was dropped.
    pub(super) fn discard(&mut self) {
        self.staged.clear();
    }

    /// Counts the changes of a durable batch. Returns the counts if there were any changes.
    pub(super) fn apply(&mut self) -> Option<DeliveryCounts> {
        if self.staged.is_empty() {
            return None;
        }
        for (position, endpoint, change) in self.staged.drain(..) {
            match change {
                RowChange::Put(DeliveryStatus::Pending) => drop(self.pending.insert((position, endpoint))),
                RowChange::Put(DeliveryStatus::Dead) => {
                    self.pending.remove(&(position, endpoint));
                    self.dead += 1;
                }
                RowChange::Deleted(Some(DeliveryStatus::Dead)) => self.dead = self.dead.saturating_sub(1),
                RowChange::Deleted(_) => drop(self.pending.remove(&(position, endpoint))),
            }
        }
        Some(self.counts())
    }

    pub(super) fn counts(&self) -> DeliveryCounts {
        DeliveryCounts {
            pending: self.pending.len() as u64,
            dead: self.dead,
            oldest: self.pending.first().map(|(position, _)| *position),
        }
    }
}
