//! Critical actors: a panic in one of them ends the process. Their state cannot be rebuilt while the server runs; all acknowledged
//! work is durable, and the process supervisor restarts the server.

use std::sync::Arc;
use tokio::sync::watch;

/// Names the critical actor that panicked, if any.
#[derive(Clone)]
pub(in crate::actors) struct CriticalActors(Arc<watch::Sender<Option<&'static str>>>);

impl Default for CriticalActors {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl CriticalActors {
    /// A guard for an actor to hold.
    pub(in crate::actors) fn guard(&self, name: &'static str) -> CriticalActor {
        CriticalActor { name, actors: self.clone() }
    }

    pub(in crate::actors) fn is_well(&self) -> bool {
        self.0.borrow().is_none()
    }

    /// Resolves with the name of the first one that panicked.
    pub(in crate::actors) async fn failed(&self) -> &'static str {
        let mut watching = self.0.subscribe();
        let failed = watching.wait_for(Option::is_some).await;
        failed.ok().and_then(|name| *name).unwrap_or_default()
    }
}

/// Held by a critical actor; reports it when dropped by a panic.
pub(in crate::actors) struct CriticalActor {
    name: &'static str,
    actors: CriticalActors,
}

impl Drop for CriticalActor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(actor = self.name, "critical actor panicked");
            self.actors.0.send_replace(Some(self.name));
        }
    }
}
