//! Long values in chunk rows, and what is known of which kinds of an account have any.
//!
//! A write over a long value must delete the chunks that it leaves. Few kinds ever have long values, so most writes need no look at the row
//! that they replace. Invariant: a kind of which nothing is known, or that has chunks, is looked at.

use super::StorageError;
use super::engine::Engine;
use super::kinds::kind;
use crate::base::ids::AccountKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The kinds of one account, a bit for each: those that were looked for, and those that have chunks.
#[derive(Clone, Copy, Default)]
struct Known {
    looked_for: u128,
    found: u128,
}

/// Which kinds have chunks, by account. Shared by all copies of the records: one thread writes.
#[derive(Clone, Default)]
pub(super) struct Chunks(Arc<Mutex<HashMap<AccountKey, Known>>>);

impl Chunks {
    /// Whether a record of this kind may have chunks.
    pub(super) fn may_have(&self, engine: &dyn Engine, account: AccountKey, kind: u8) -> Result<bool, StorageError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = known.entry(account).or_default();
        let bit = 1 << (kind & 0x7f);
        if of.looked_for & bit == 0 {
            if !engine.scan(&prefix(account, kind), None, 1)?.is_empty() {
                of.found |= bit;
            }
            of.looked_for |= bit;
        }
        Ok(of.found & bit != 0)
    }

    /// A chunk of this kind is written.
    pub(super) fn written(&self, account: AccountKey, kind: u8) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(account).or_default().found |= 1 << (kind & 0x7f);
    }

    pub(super) fn forget(&self, account: AccountKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&account);
    }
}

fn prefix(account: AccountKey, of: u8) -> Vec<u8> {
    [&account.as_bytes()[..], &[kind::CHUNK, of]].concat()
}

/// Chunks lie beside their record, in the same account.
pub(super) fn chunk_key(full: &[u8], part: u16) -> Vec<u8> {
    let (account, kind_and_key) = full.split_at(full.len().min(16));
    [account, &[kind::CHUNK], kind_and_key, &part.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Batch, MemoryEngine};

    const ACCOUNT: AccountKey = AccountKey::from_bytes([7; 16]);

    #[test]
    fn a_kind_with_chunks_is_found_whether_they_are_stored_or_written_now() {
        let engine = MemoryEngine::default();
        let full = [&ACCOUNT.as_bytes()[..], &[3], b"key"].concat();
        let writes = [(chunk_key(&full, 0), Some(vec![1]))].into();
        engine.apply(Batch { writes, ..Batch::default() }).unwrap();
        let chunks = Chunks::default();
        assert!(chunks.may_have(&engine, ACCOUNT, 3).unwrap());
        assert!(!chunks.may_have(&engine, ACCOUNT, 4).unwrap());
        assert!(!chunks.may_have(&engine, AccountKey::SERVER, 3).unwrap());
        chunks.written(ACCOUNT, 4);
        assert!(chunks.may_have(&engine, ACCOUNT, 4).unwrap());
    }
}
