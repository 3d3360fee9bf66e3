//! The thread that compacts a store of which little is in use.
//!
//! Bound: one period after the last write a store of at least `from` bytes takes at most twice the bytes of its rows, where the disk has
//! room for a copy.

use super::{Generations, StorageError};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

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
            while is_running(&end, schedule.every) {
                if let Err(error) = look(&store, schedule.from, &*free, &end) {
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

fn look(
    store: &Generations,
    from: u64,
    free: &dyn Fn() -> Option<u64>,
    end: &Receiver<()>,
) -> Result<(), StorageError> {
    let size = store.size()?;
    if size < from {
        return Ok(());
    }
    let Some(used) = store.used(|| is_running(end, PAUSE))? else { return Ok(()) };
    if size <= used.saturating_mul(2) {
        return Ok(());
    }
    // A copy takes up to half as much again as its rows.
    if free().is_some_and(|free| free < used.saturating_mul(2)) {
        tracing::warn!(size, used, "the disk has no room to compact the store");
        return Ok(());
    }
    match store.compact(|| is_running(end, PAUSE))? {
        Some((before, after)) => tracing::info!(before, after, "store compacted"),
        None => tracing::debug!("the store was not compacted: it ended, or is written to faster than it is copied"),
    }
    Ok(())
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
