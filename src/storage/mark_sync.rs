//! The thread that syncs the file of the mark. A commit does not wait for it: a second sync would double the time of each.

use super::mark::MarkFile;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// After a crash of the machine the file may be so much older than the store.
const GAP: Duration = Duration::from_millis(100);

type Failure = Arc<Mutex<Option<io::Error>>>;

pub(super) struct MarkSync {
    /// Tell of a written mark, and of the end; `None` while it ends.
    senders: Option<(SyncSender<()>, SyncSender<()>)>,
    thread: Option<JoinHandle<()>>,
    failure: Failure,
}

impl MarkSync {
    pub(super) fn start(file: Arc<MarkFile>) -> io::Result<Self> {
        let ((written, marks), (running, end)) = (sync_channel(1), sync_channel(0));
        let failure = Failure::default();
        let failed = Arc::clone(&failure);
        let thread = std::thread::Builder::new().name("commit-mark".into()).spawn(move || {
            if let Err(error) = run(&file, &marks, &end) {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        })?;
        Ok(Self { senders: Some((written, running)), thread: Some(thread), failure })
    }

    /// Tells of a written mark. Fails when an earlier one could not be synced.
    pub(super) fn tell(&self) -> io::Result<()> {
        if let Some(error) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        if let Some((written, _)) = &self.senders {
            // One that waits covers this one too.
            let _ = written.try_send(());
        }
        Ok(())
    }
}

fn run(file: &MarkFile, marks: &Receiver<()>, end: &Receiver<()>) -> io::Result<()> {
    while marks.recv().is_ok() && end.recv_timeout(GAP) == Err(RecvTimeoutError::Timeout) {
        file.sync()?;
    }
    file.sync()
}

impl Drop for MarkSync {
    fn drop(&mut self) {
        self.senders = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}
