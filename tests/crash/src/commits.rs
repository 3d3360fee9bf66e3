//! Numbered commits, whose rows tell after a crash which of them a store has.

use std::collections::BTreeMap;
use wharf::storage::{Engine, StorageError};

/// Each commit writes over the one so many before.
const ROWS: u64 = 3000;
const LAST: &[u8] = b"zlast";

fn row(number: u64) -> (Vec<u8>, Vec<u8>) {
    ([&b"row"[..], &(number % ROWS).to_be_bytes()].concat(), number.to_be_bytes().repeat(40))
}

/// The rows of a commit.
#[must_use]
pub fn writes(number: u64) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let (key, value) = row(number);
    [(key, Some(value)), (LAST.to_vec(), Some(number.to_be_bytes().to_vec()))].into()
}

/// The number of the last commit that the store has.
pub fn last(store: &dyn Engine) -> Result<u64, StorageError> {
    let row = store.get(LAST)?.unwrap_or_default();
    Ok(row.try_into().map_or(0, u64::from_be_bytes))
}

/// Whether the store has this commit, those before it, and nothing else.
pub fn has_exactly(store: &dyn Engine, last: u64) -> Result<bool, StorageError> {
    let wanted: BTreeMap<_, _> = (last.saturating_sub(ROWS) + 1..=last).map(row).collect();
    Ok(store.scan(b"row", None, usize::MAX)?.into_iter().eq(wanted))
}
