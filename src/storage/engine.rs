//! What a storage engine must do; `conformance.rs` is the suite that every engine passes.

use super::StorageError;
use std::collections::BTreeMap;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);
/// In order of their keys.
pub type Rows = Vec<Row>;

/// Writes by full key; the last to a key counts, and `None` deletes.
#[derive(Default)]
pub struct Batch {
    pub writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// An ordered store of bytes. One thread writes; any thread reads.
pub trait Engine: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// At most `limit` rows whose keys begin with `prefix` and come after `after`.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Rows, StorageError>;

    /// The last row whose key begins with `prefix`.
    fn last(&self, prefix: &[u8]) -> Result<Option<Row>, StorageError>;

    /// Applies the batch atomically. It need not be durable before [`sync`](Self::sync).
    fn apply(&self, batch: Batch) -> Result<(), StorageError>;

    /// When this returns, everything applied before survives a crash of the machine.
    fn sync(&self) -> Result<(), StorageError>;
}
