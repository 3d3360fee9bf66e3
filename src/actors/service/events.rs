//! The event log: pages of events behind a cursor, of all accounts or of one.

use crate::actors::committer::rows::EventRow;
use crate::actors::committer::store::Store;
use crate::actors::committer::upkeep::LOG_START;
use crate::actors::error::{ActorError, ActorError as Error};
use crate::base::ids::{AccountId, AccountKey};
use crate::storage::kind;
use std::time::Duration;

/// Most rows that one request reads, and rows that one scan reads.
const MAX_SCAN: usize = 20_000;
const SCAN_STEP: usize = 256;

/// A page of the event log.
#[derive(Debug)]
pub struct EventPage {
    /// Events as stored: JSON.
    pub events: Vec<String>,
    /// Cursor of the next page.
    pub next: String,
}

/// A filter of events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    pub account: Option<AccountId>,
    pub kind: Option<String>,
}

/// Result of one read of the log.
struct Scanned {
    events: Vec<String>,
    /// Position of the last row read.
    position: u64,
    /// True at the end of the log.
    is_end: bool,
}

/// The committed events, and the epoch that cursors of this log carry.
#[derive(Clone)]
pub(super) struct EventLog {
    pub(super) store: Store,
    pub(super) epoch: String,
}

impl EventLog {
    /// A page of events after the cursor; waits for the first one when there is none yet.
    pub(super) async fn page(
        &self,
        after: Option<&str>,
        limit: usize,
        account: Option<AccountKey>,
        kind: Option<&str>,
        wait: Duration,
    ) -> Result<EventPage, Error> {
        let mut position = after.map_or(Ok(0), |cursor| self.position(cursor))?;
        let deadline = tokio::time::Instant::now() + wait;
        let mut log_end = self.store.log_end.clone();
        loop {
            let end = *log_end.borrow_and_update();
            let scanned = self.scan(position, limit, account, kind, end)?;
            let events = scanned.events;
            position = scanned.position;
            let is_due = !events.is_empty() || !scanned.is_end;
            if is_due || tokio::time::timeout_at(deadline, log_end.changed()).await.is_err() {
                return Ok(EventPage { events, next: format!("{}-{position}", self.epoch) });
            }
        }
    }

    fn position(&self, cursor: &str) -> Result<u64, Error> {
        let (epoch, position) = cursor.rsplit_once('-').ok_or(ActorError::BadCursor)?;
        match position.parse() {
            Ok(position) if epoch == self.epoch && !self.is_forgotten(position)? => Ok(position),
            _ => Err(ActorError::BadCursor),
        }
    }

    /// True when retention has deleted events behind this position.
    fn is_forgotten(&self, position: u64) -> Result<bool, Error> {
        let start = self.store.records.get(AccountKey::SERVER, kind::META, LOG_START)?;
        let start = start.and_then(|start| start.try_into().ok()).map(u64::from_be_bytes);
        Ok(start.is_some_and(|start| position.saturating_add(1) < start))
    }

    /// Reads rows behind `after`: one account's from its own range, all accounts' by the index. `log_end` is the synced end of the
    /// log: events from there on are not shown.
    fn scan(
        &self,
        after: u64,
        limit: usize,
        account: Option<AccountKey>,
        kind: Option<&str>,
        log_end: u64,
    ) -> Result<Scanned, Error> {
        let records = &self.store.records;
        let (mut events, mut position, mut looked_at) = (Vec::new(), after, 0);
        loop {
            let step = if kind.is_some() { SCAN_STEP } else { SCAN_STEP.min(limit - events.len()).max(1) };
            let from = position.to_be_bytes();
            let rows = match account {
                Some(account) => records.scan(account, kind::EVENT, &[], Some(&from), step)?,
                None => records.scan(AccountKey::SERVER, kind::EVENT_INDEX, &[], Some(&from), step)?,
            };
            let is_last = rows.len() < step;
            for (key, value) in rows {
                looked_at += 1;
                let Ok(at) = key.as_slice().try_into().map(u64::from_be_bytes) else { continue };
                if at >= log_end {
                    // Applied, but perhaps not yet synced.
                    return Ok(Scanned { events, position: position.max(log_end.saturating_sub(1)), is_end: true });
                }
                position = at;
                let stored = match account {
                    Some(_) => Some(value),
                    None => match value.as_slice().try_into() {
                        Ok(owner) => records.get(AccountKey::from_bytes(owner), kind::EVENT, &key)?,
                        Err(_) => None,
                    },
                };
                let Some(event) = stored.as_deref().and_then(EventRow::decode) else { continue };
                if kind.is_none_or(|pattern| matches(pattern, &event.kind)) {
                    events.push(event.body);
                }
                if events.len() >= limit || looked_at >= MAX_SCAN {
                    return Ok(Scanned { events, position, is_end: false });
                }
            }
            if is_last {
                // Rows of other accounts count as seen, so that the cursor does not grow old while an account is quiet.
                let position = position.max(log_end.saturating_sub(1));
                return Ok(Scanned { events, position, is_end: true });
            }
        }
    }
}

/// Whether an event type fits a filter: the type itself, or a prefix and `*`.
fn matches(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix),
        None => kind == pattern,
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
