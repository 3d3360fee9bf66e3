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
