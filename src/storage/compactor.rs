//! The thread that compacts a store of which less than a third is in use.
//!
//! A new copy takes 1.5 to 2.4 times the bytes of its rows: sled keeps up to half of a file for rows that were moved. Bound: an hour after
//! the last write a store of at least `from` bytes takes at most three times the bytes of its rows, where the disk has room for a copy.

use super::{Generations, StorageError};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The share of a store that its rows take at least.
const IN_USE: u64 = 3;
/// Looks after which the rows are counted again, though the store has not grown by a quarter.
const LOOKS: u32 = 6;

/// Between pages, so that accounts have the disk and the processor for most of the time.
const PAUSE: Duration = Duration::from_millis(10);

/// When a store is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    pub every: Duration,
    /// The bytes on disk below which a store is left as it is.
    pub from: u64,
}

/// Runs until it is dropped, which ends a compaction that is under way.
pub struct Compactor {
    /// `None` while it ends.
    running: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Compactor {
    /// `free` measures the free bytes of the disk, where that is possible.
    pub fn start(
        store: Arc<Generations>,
        schedule: Schedule,
        free: Arc<dyn Fn() -> Option<u64> + Send + Sync>,
    ) -> io::Result<Self> {
        let (running, end) = sync_channel::<()>(0);
        let thread = std::thread::Builder::new().name("compaction".into()).spawn(move || {
            let mut watch = Watch { from: schedule.from, counted: 0, looks: 0 };
            while is_running(&end, schedule.every) {
                if let Err(error) = watch.look(&store, &*free, &end) {
                    tracing::warn!(%error, "the store could not be compacted");
                }
            }
        })?;
        Ok(Self { running: Some(running), thread: Some(thread) })
    }
}

/// Waits; false when it is the end.
fn is_running(end: &Receiver<()>, wait: Duration) -> bool {
    end.recv_timeout(wait) == Err(RecvTimeoutError::Timeout)
}

struct Watch {
    from: u64,
    /// The size when the rows were counted last, and the looks since then: to count them reads the whole store.
    counted: u64,
    looks: u32,
}

impl Watch {
    fn look(
        &mut self,
        store: &Generations,
        free: &dyn Fn() -> Option<u64>,
        end: &Receiver<()>,
    ) -> Result<(), StorageError> {
        let size = store.size()?;
        self.looks += 1;
        if size < self.from || (size < self.counted.saturating_add(self.counted / 4) && self.looks < LOOKS) {
            return Ok(());
        }
        (self.counted, self.looks) = (size, 0);
        let Some(used) = store.used(|| is_running(end, PAUSE))? else { return Ok(()) };
        let most = used.saturating_mul(IN_USE);
        if size <= most {
            return Ok(());
        }
        if free().is_some_and(|free| free < most) {
            tracing::warn!(size, used, "the disk has no room to compact the store");
            return Ok(());
        }
        match store.compact(|| is_running(end, PAUSE))? {
            Some((before, after)) => {
                self.counted = after;
                tracing::info!(before, after, used, "store compacted");
            }
            None => tracing::debug!("the store was not compacted: it ended, or is written to faster than it is copied"),
        }
        Ok(())
    }
}

impl Drop for Compactor {
    fn drop(&mut self) {
        self.running = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Batch, Engine};

    /// A store of as many rows of 1 KB, each written so often.
    fn store(folder: &tempfile::TempDir, rows: u16, rounds: u8) -> Generations {
        let store = Generations::open(folder.path(), 8 * 1024 * 1024).unwrap();
        for round in 0..rounds {
            let row = |key: u16| (key.to_be_bytes().to_vec(), Some(vec![round; 1000]));
            store.apply(Batch { writes: (0..rows).map(row).collect(), ..Batch::default() }).unwrap();
            store.sync().unwrap();
        }
        store
    }

    /// Whether a look made the store smaller.
    fn is_compacted(watch: &mut Watch, store: &Generations, free: Option<u64>) -> bool {
        let (_running, end) = sync_channel(0);
        let before = store.size().unwrap();
        watch.look(store, &|| free, &end).unwrap();
        store.size().unwrap() < before
    }

    const fn watch(from: u64) -> Watch {
        Watch { from, counted: 0, looks: 0 }
    }

    #[test]
    fn a_store_of_which_little_is_in_use_is_compacted_and_one_that_is_full_is_not() {
        let (sparse, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert!(is_compacted(&mut watch(0), &store(&sparse, 400, 40), None));
        assert!(!is_compacted(&mut watch(0), &store(&full, 4000, 1), None));
    }

    #[test]
    fn a_small_store_and_one_whose_copy_has_no_room_are_left_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, 400, 40);
        assert!(!is_compacted(&mut watch(u64::MAX), &store, None));
        assert!(!is_compacted(&mut watch(0), &store, Some(3 * 400 * 1002 - 1)));
        assert!(is_compacted(&mut watch(0), &store, Some(3 * 400 * 1002)));
    }

    #[test]
    fn rows_are_counted_again_when_the_store_has_grown_by_a_quarter_or_after_an_hour_of_looks() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder, 400, 40);
        let size = store.size().unwrap();
        let mut full = Watch { counted: size, ..watch(0) };
        for _ in 1..LOOKS {
            assert!(!is_compacted(&mut full, &store, None));
        }
        assert!(is_compacted(&mut full, &store, None));
        let mut grown = Watch { counted: store.size().unwrap() / 2, ..watch(0) };
        let (_running, end) = sync_channel(0);
        grown.look(&store, &|| None, &end).unwrap();
        assert_eq!((grown.counted, grown.looks), (store.size().unwrap(), 0));
    }
}
