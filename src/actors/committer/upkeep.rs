//! Background work of the committer: retention of events, erasure of accounts and contacts, rotation of data keys.
//!
//! Each step is a separate commit over a page of rows, so that turns come between. The next step continues where the last one
//! ended, after a crash too.

use crate::actors::committer::idempotency::{is_kept, read_answer};
use crate::actors::committer::ledger::RowChange;
use crate::actors::committer::rows::{EventRow, decode_delivery};
use crate::actors::committer::staging::Staging;
use crate::actors::committer::store::Store;
use crate::actors::error::ActorError as Error;
use crate::base::counts::Counts;
use crate::base::ids::{AccountId, AccountKey};
use crate::base::time::Timestamp;
use crate::storage::{Batch, ChangeSet, Kind, OF_DEVICE, Rotation, StorageError, kind, kind_name, owner};
use crate::webhook::delivery_key;
use serde_json::Value;
use std::collections::HashSet;

/// Rows that one step reads.
const PAGE: usize = 512;
/// Prefix of the server's records of accounts under erasure.
const ERASING: &[u8] = b"erasing/";
/// Name of the server's record of the log's first position after retention.
pub(in crate::actors) const LOG_START: &[u8] = b"log_start";

impl Store {
    /// Deletes events older than `before` and expired idempotent answers. Returns the number of deleted rows.
    pub async fn sweep(&self, before: Timestamp, now: Timestamp) -> Result<u64, StorageError> {
        let mut swept = 0;
        loop {
            let (count, more) = self.alone(move |staging, batch| staging.sweep_events(batch, before)).await?;
            swept += count;
            if !more {
                break;
            }
        }
        let mut after = None;
        loop {
            let from = after.take();
            let (count, next) = self.alone(move |staging, batch| staging.sweep_answers(batch, from, now)).await?;
            swept += count;
            match next {
                Some(next) => after = Some(next),
                None => return Ok(swept),
            }
        }
    }

    /// Rotates an account's data key: seals all its rows under a new one and deletes the old one.
    pub(in crate::actors) async fn rotate_data_key(&self, account: AccountKey) -> Result<(), StorageError> {
        let mut next = Some(Rotation::Begin);
        while let Some(step) = next {
            next = self.alone(move |staging, batch| staging.records.rotate_data_key(batch, account, step)).await?;
        }
        Ok(())
    }

    /// Takes an account out of the list and records its erasure, which a crash then only delays.
    pub(in crate::actors) async fn begin_erasure(
        &self,
        id: &AccountId,
        account: AccountKey,
    ) -> Result<(), StorageError> {
        let mut writes = ChangeSet::<owner::Server>::default();
        writes.delete(kind::ACCOUNT, id.as_str());
        writes.put(kind::META, [ERASING, &account.as_bytes()[..]].concat(), id.as_str());
        self.commit_server(writes).await
    }

    /// Deletes a page of the old device's records; true when there are more.
    pub(in crate::actors) async fn forget_device(&self, account: AccountKey) -> Result<bool, StorageError> {
        self.alone(move |staging, batch| staging.forget_device(batch, account)).await
    }

    /// Accounts whose erasure is unfinished.
    pub(in crate::actors) fn erasures(&self) -> Result<Vec<AccountKey>, StorageError> {
        let rows = self.records.scan(AccountKey::SERVER, kind::META, ERASING, None, usize::MAX)?;
        let keys = rows.into_iter().filter_map(|(key, _)| key.get(ERASING.len()..)?.try_into().ok());
        Ok(keys.map(AccountKey::from_bytes).collect())
    }

    /// Deletes all rows of an account, its data key last. Returns the deleted rows by kind.
    pub(in crate::actors) async fn erase(&self, account: AccountKey) -> Result<Counts, StorageError> {
        let mut counts = Counts::default();
        loop {
            let (step, more) = self.alone(move |staging, batch| staging.erase(batch, account)).await?;
            counts.merge(step);
            if !more {
                return Ok(counts);
            }
        }
    }

    /// Deletes the events of an account that name one of these addresses as their chat, sender or recipient.
    pub(in crate::actors) async fn erase_events(
        &self,
        account: AccountKey,
        names: Vec<String>,
    ) -> Result<Counts, Error> {
        let names: std::sync::Arc<HashSet<String>> = std::sync::Arc::new(names.into_iter().collect());
        let (mut counts, mut after) = (Counts::default(), None);
        loop {
            let (names, from) = (names.clone(), after.take());
            let stepped = self.alone(move |staging, batch| staging.erase_events(batch, account, &names, from));
            let (step, next) = stepped.await?;
            counts.merge(step);
            match next {
                Some(next) => after = Some(next),
                None => return Ok(counts),
            }
        }
    }
}

impl Staging {
    fn sweep_events(&mut self, batch: &mut Batch, before: Timestamp) -> Result<(u64, bool), StorageError> {
        let index = self.records.scan(AccountKey::SERVER, kind::EVENT_INDEX, &[], None, PAGE)?;
        let (mut count, mut more, mut start) = (0, index.len() == PAGE, None);
        for (key, owner) in index {
            let (Ok(at), Ok(owner)) = (key.as_slice().try_into(), owner.as_slice().try_into()) else { continue };
            let (position, account) = (u64::from_be_bytes(at), AccountKey::from_bytes(owner));
            let stored = self.records.get(account, kind::EVENT, &key)?;
            let is_old = stored.as_deref().and_then(EventRow::decode).is_none_or(|event| event.at < before);
            // The last position stays: it is where numbering continues.
            if !is_old || position + 1 >= self.next_position {
                more = false;
                break;
            }
            self.stage_event_deletion(batch, account, position)?;
            start = Some(position + 1);
            count += 1;
        }
        if let Some(start) = start {
            let mut writes = ChangeSet::<owner::Server>::default();
            writes.put(kind::META, LOG_START, start.to_be_bytes());
            self.records.stage_set(batch, AccountKey::SERVER, writes)?;
        }
        Ok((count, more))
    }

    fn sweep_answers(
        &mut self,
        batch: &mut Batch,
        after: Option<Vec<u8>>,
        now: Timestamp,
    ) -> Result<(u64, Option<Vec<u8>>), StorageError> {
        let page = self.records.scan(AccountKey::SERVER, kind::SERVER_IDEMPOTENCY, &[], after.as_deref(), PAGE)?;
        let mut writes = ChangeSet::<owner::Server>::default();
        let mut count = 0;
        for (key, value) in &page {
            if !is_kept(read_answer(key, value)?.0, now) {
                writes.delete(kind::SERVER_IDEMPOTENCY, key.as_slice());
                count += 1;
            }
        }
        self.records.stage_set(batch, AccountKey::SERVER, writes)?;
        Ok((count, page.last().filter(|_| page.len() == PAGE).map(|(key, _)| key.clone())))
    }

    fn stage_event_deletion(&mut self, batch: &mut Batch, account: AccountKey, at: u64) -> Result<u64, StorageError> {
        let mut own = ChangeSet::<owner::Committer>::default();
        own.delete(kind::EVENT, at.to_be_bytes());
        self.records.stage_set(batch, account, own)?;
        let (mut global, mut deliveries) = (ChangeSet::<owner::Committer>::default(), 0);
        // The last position stays in the index, without its event: it is where numbering continues.
        if at + 1 < self.next_position {
            global.delete(kind::EVENT_INDEX, at.to_be_bytes());
        }
        for endpoint in self.endpoints.keys() {
            let key = delivery_key(endpoint, at);
            if let Some(row) = self.records.get(AccountKey::SERVER, kind::DELIVERY, &key)? {
                let status = decode_delivery(&row).map(|row| row.status);
                self.ledger.note(endpoint, at, RowChange::Deleted(status));
                global.delete(kind::DELIVERY, key);
                deliveries += 1;
            }
        }
        self.records.stage_set(batch, AccountKey::SERVER, global)?;
        Ok(deliveries)
    }

    fn forget_device(&mut self, batch: &mut Batch, account: AccountKey) -> Result<bool, StorageError> {
        let mut left = PAGE;
        for kind in OF_DEVICE {
            self.forget(batch, account, *kind, &mut left)?;
        }
        Ok(left == 0)
    }

    fn forget<O>(
        &mut self,
        batch: &mut Batch,
        account: AccountKey,
        kind: Kind<O>,
        left: &mut usize,
    ) -> Result<(), StorageError> {
        let page = self.records.scan(account, kind, &[], None, *left)?;
        *left -= page.len();
        page.iter().try_for_each(|(key, _)| self.records.restage(batch, account, kind, key, None))
    }

    fn erase(&mut self, batch: &mut Batch, account: AccountKey) -> Result<(Counts, bool), StorageError> {
        let rows = self.records.engine().scan(account.as_bytes(), None, PAGE)?;
        let mut counts = Counts::default();
        for (full, _) in &rows {
            let (code, key) = (full.get(16).copied().unwrap_or_default(), full.get(17..).unwrap_or_default());
            if code == kind::EVENT.code()
                && let Ok(at) = key.try_into()
            {
                let deliveries = self.stage_event_deletion(batch, account, u64::from_be_bytes(at))?;
                counts.add("deliveries", deliveries);
            }
            counts.add(kind_name(code), 1);
            batch.writes.insert(full.clone(), None);
        }
        if !rows.is_empty() {
            return Ok((counts, true));
        }
        self.records.stage_forgotten(batch, account);
        let mut done = ChangeSet::<owner::Server>::default();
        done.delete(kind::META, [ERASING, &account.as_bytes()[..]].concat());
        self.records.stage_set(batch, AccountKey::SERVER, done)?;
        Ok((counts, false))
    }

    fn erase_events(
        &mut self,
        batch: &mut Batch,
        account: AccountKey,
        names: &HashSet<String>,
        after: Option<Vec<u8>>,
    ) -> Result<(Counts, Option<Vec<u8>>), StorageError> {
        let page = self.records.scan(account, kind::EVENT, &[], after.as_deref(), PAGE)?;
        let mut counts = Counts::default();
        for (key, value) in &page {
            let Some(event) = EventRow::decode(value) else { continue };
            let data = serde_json::from_str::<Value>(&event.body).unwrap_or_default()["data"].take();
            let is_theirs = |name: &str| data[name].as_str().is_some_and(|address| names.contains(address));
            if !["chat", "from", "from_lid", "recipient", "jid", "to"].into_iter().any(is_theirs) {
                continue;
            }
            if let Ok(at) = key.as_slice().try_into() {
                let deliveries = self.stage_event_deletion(batch, account, u64::from_be_bytes(at))?;
                counts.add("deliveries", deliveries);
                counts.add("events", 1);
            }
        }
        Ok((counts, page.last().filter(|_| page.len() == PAGE).map(|(key, _)| key.clone())))
    }
}

#[cfg(test)]
#[path = "upkeep_tests.rs"]
mod tests;
