//! Migration of data of an older format: numbered steps, forward only, each a pure function of one row.
//!
//! Invariant: a batch of migrated rows and the progress of its step are one commit, so that an interrupted step resumes. The
//! steps, with what each changes and data from before it: `migrations/`.

use super::StorageError;
use super::changes::ChangeSet;
use super::engine::Batch;
use super::kinds::{is_named, kind, owner};
use super::records::Records;
use crate::base::ids::AccountKey;
use crate::base::time::Timestamp;

#[path = "../../migrations/0003-times/step.rs"]
mod times;

/// The format of the data that this build reads and writes.
pub const DATA_FORMAT: u32 = 3;
/// The oldest format that can be migrated; no older one was released.
const OLDEST: u32 = 2;
const STEPS: &[Step] = &[times::STEP];
/// Rows in one batch.
const PAGE: usize = 256;
const FORMAT: &[u8] = b"format";
const PROGRESS: &[u8] = b"migrating";

/// One change of the format.
pub struct Step {
    /// The format after it.
    pub to: u32,
    pub name: &'static str,
    /// A description, for logs.
    pub what: &'static str,
    /// The kinds whose rows it rewrites; none whose keys begin with a name.
    pub(super) kinds: &'static [u8],
    /// Gives the new value for a kind and an old value; `None` if that is corrupt.
    pub(super) row: fn(u8, &[u8], Timestamp) -> Option<Vec<u8>>,
}

/// A pending step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub name: &'static str,
    pub what: &'static str,
    pub to: u32,
    /// How many rows it rewrites.
    pub rows: usize,
}

/// The progress of a step: the last row that was migrated.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Progress {
    to: u32,
    account: AccountKey,
    kind: u8,
    key: Vec<u8>,
}

impl Progress {
    fn encode(&self) -> Vec<u8> {
        [&self.to.to_be_bytes()[..], self.account.as_bytes(), &[self.kind], &self.key].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (to, rest) = bytes.split_first_chunk::<4>()?;
        let (account, rest) = rest.split_first_chunk::<16>()?;
        let (kind, key) = rest.split_first()?;
        let account = AccountKey::from_bytes(*account);
        Some(Self { to: u32::from_be_bytes(*to), account, kind: *kind, key: key.to_vec() })
    }
}

/// The format of the data; `None` for an empty store.
pub fn format_of(records: &Records) -> Result<Option<u32>, StorageError> {
    let stored = records.get(AccountKey::SERVER, kind::META, FORMAT)?;
    let Some(stored) = stored else { return Ok(None) };
    let corrupt = StorageError::Corrupt { kind: kind::META.code(), key: hex::encode(FORMAT), what: "data format" };
    stored.try_into().map(|bytes| Some(u32::from_be_bytes(bytes))).map_err(|_| corrupt)
}

/// Stores this build's format as that of the data.
pub fn put_format(writes: &mut ChangeSet<owner::Server>) {
    writes.put(kind::META, FORMAT, DATA_FORMAT.to_be_bytes());
}

/// The pending steps, in order. Fails for a format newer than this build's, and for one that cannot be migrated.
pub fn plan(records: &Records) -> Result<Vec<Planned>, StorageError> {
    let steps = steps_for(records)?.iter().map(|step| {
        let mut rows = 0;
        for (account, kind) in places(records, step)? {
            rows += records.scan_code(account, kind, &[], None, usize::MAX)?.len();
        }
        Ok(Planned { name: step.name, what: step.what, to: step.to, rows })
    });
    steps.collect()
}

/// Runs one value through every step, as a row of each kind; for fuzzing.
pub fn migrate_rows(value: &[u8]) -> usize {
    let all =
        STEPS.iter().flat_map(|step| step.kinds.iter().map(|kind| (step.row)(*kind, value, Timestamp::default())));
    all.flatten().count()
}

/// Runs the pending steps; returns the number of rewritten rows.
pub fn migrate(records: &Records, now: Timestamp) -> Result<usize, StorageError> {
    let mut rewritten = 0;
    for step in steps_for(records)? {
        tracing::info!(step = step.name, what = step.what, "migrating data");
        rewritten += run(records, step, now)?;
    }
    Ok(rewritten)
}

fn steps_for(records: &Records) -> Result<&'static [Step], StorageError> {
    let Some(found) = format_of(records)? else { return Ok(&[]) };
    if !(OLDEST..=DATA_FORMAT).contains(&found) {
        return Err(StorageError::Format { found, expected: DATA_FORMAT });
    }
    let first = STEPS.iter().position(|step| step.to > found).unwrap_or(STEPS.len());
    Ok(&STEPS[first..])
}

/// Every account with every kind of a step, in a fixed order.
fn places(records: &Records, step: &Step) -> Result<Vec<(AccountKey, u8)>, StorageError> {
    debug_assert!(!step.kinds.iter().any(|kind| is_named(*kind)), "names in keys cannot be read back");
    let accounts = records.accounts()?;
    let all = std::iter::once(AccountKey::SERVER).chain(accounts);
    Ok(all.flat_map(|account| step.kinds.iter().map(move |kind| (account, *kind))).collect())
}

fn run(records: &Records, step: &Step, now: Timestamp) -> Result<usize, StorageError> {
    let stored = records.get(AccountKey::SERVER, kind::META, PROGRESS)?;
    let begun = stored.as_deref().and_then(Progress::decode).filter(|progress| progress.to == step.to);
    let (mut places, mut after) = (places(records, step)?, None);
    if let Some(Progress { account, kind, key, .. }) = begun {
        let at = places.iter().position(|place| *place == (account, kind)).unwrap_or_default();
        places.drain(..at);
        after = Some(key);
    }
    let mut rewritten = 0;
    for (account, kind) in places {
        let mut last = after.take();
        loop {
            let rows = records.scan_code(account, kind, &[], last.as_deref(), PAGE)?;
            let Some((end, _)) = rows.last() else { break };
            let progress = Progress { to: step.to, account, kind, key: end.clone() };
            let mut batch = Batch::default();
            for (key, old) in &rows {
                let corrupt = StorageError::Corrupt { kind, key: hex::encode(key), what: "a row of an older format" };
                let new = (step.row)(kind, old, now).ok_or(corrupt)?;
                records.stage_stored(&mut batch, account, kind, key, Some(new))?;
            }
            let encoded = progress.encode();
            commit(records, batch, |meta| meta.put(kind::META, PROGRESS, encoded))?;
            rewritten += rows.len();
            last = Some(progress.key);
        }
    }
    commit(records, Batch::default(), |meta| {
        meta.put(kind::META, FORMAT, step.to.to_be_bytes());
        meta.delete(kind::META, PROGRESS);
    })?;
    Ok(rewritten)
}

fn commit(
    records: &Records,
    batch: Batch,
    note: impl FnOnce(&mut ChangeSet<owner::Server>),
) -> Result<(), StorageError> {
    let mut meta = ChangeSet::default();
    note(&mut meta);
    records.commit(batch, AccountKey::SERVER, meta)
}

#[cfg(test)]
#[path = "migrate_tests.rs"]
mod tests;
