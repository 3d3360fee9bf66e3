//! The event log: pages of events behind a cursor, of all accounts or of one.

use crate::actors::committer::rows::EventRow;
use crate::actors::committer::store::Store;
use crate::actors::committer::upkeep::LOG_START;
use crate::actors::error::{ActorError, ActorError as Error};
use crate::base::ids::{AccountId, AccountKey};
use crate::storage::kind;
use std::time::Duration;

/// Rows of the log that one request looks at, and that are read at a time.
const MAX_SCAN: usize = 20_000;
const SCAN_STEP: usize = 256;

/// A page of the event log.
#[derive(Debug)]
pub struct EventPage {
    /// Events as stored: JSON.
    pub events: Vec<String>,
    /// Where to go on.
    pub next: String,
}

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    pub account: Option<AccountId>,
    pub kind: Option<String>,
}

/// The committed events, and the epoch that cursors of this log carry.
#[derive(Clone)]
pub(super) struct EventLog {
    pub(super) store: Store,
    pub(super) epoch: String,
}

impl EventLog {
    /// Events after the cursor; waits for the first when there is none yet.
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
            log_end.borrow_and_update();
            let (events, end) = self.scan(position, limit, account, kind)?;
            position = end;
            if !events.is_empty() || tokio::time::timeout_at(deadline, log_end.changed()).await.is_err() {
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

    /// Whether events after this position have grown too old.
    fn is_forgotten(&self, position: u64) -> Result<bool, Error> {
        let start = self.store.records.get(AccountKey::SERVER, kind::META, LOG_START)?;
        let start = start.and_then(|start| start.try_into().ok()).map(u64::from_be_bytes);
        Ok(start.is_some_and(|start| position.saturating_add(1) < start))
    }

    fn scan(
        &self,
        after: u64,
        limit: usize,
        account: Option<AccountKey>,
        wanted: Option<&str>,
    ) -> Result<(Vec<String>, u64), Error> {
        let (mut events, mut position) = (Vec::new(), after);
        let (mut looked_at, mut rows) = (0, Vec::new().into_iter());
        while events.len() < limit && looked_at < MAX_SCAN {
            let Some((key, owner)) = rows.next() else {
                let from = position.to_be_bytes();
                let index =
                    self.store.records.scan(AccountKey::SERVER, kind::EVENT_INDEX, &[], Some(&from), SCAN_STEP)?;
                if index.is_empty() {
                    break;
                }
                rows = index.into_iter();
                continue;
            };
            looked_at += 1;
            let (Ok(at), Ok(owner)) = (key.as_slice().try_into(), owner.as_slice().try_into()) else { continue };
            position = u64::from_be_bytes(at);
            let owner = AccountKey::from_bytes(owner);
            if account.is_some_and(|account| account != owner) {
                continue;
            }
            let stored = self.store.records.get(owner, kind::EVENT, &key)?;
            let Some(event) = stored.as_deref().and_then(EventRow::decode) else { continue };
            let fits = wanted.is_none_or(|wanted| match wanted.strip_suffix('*') {
                Some(prefix) => event.kind.starts_with(prefix),
                None => event.kind == wanted,
            });
            if fits {
                events.push(event.body);
            }
        }
        Ok((events, position))
    }
}
