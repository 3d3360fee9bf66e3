//! Actors that the process cannot do without. One that goes down by a panic takes the server with it: what it would have done can
//! be done by nobody else, everything is durable, and whatever supervises the process starts it anew.

use std::sync::Arc;
use tokio::sync::watch;

/// Tells which critical actor went down.
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

    /// Resolves when one has gone down, with its name.
    pub(in crate::actors) async fn failed(&self) -> &'static str {
        let mut watching = self.0.subscribe();
        let failed = watching.wait_for(Option::is_some).await;
        failed.ok().and_then(|name| *name).unwrap_or_default()
    }
}

/// Dropped by a panic, it reports its actor.
pub(in crate::actors) struct CriticalActor {
    name: &'static str,
    actors: CriticalActors,
}

impl Drop for CriticalActor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(actor = self.name, "an actor went down that the server cannot do without");
            self.actors.0.send_replace(Some(self.name));
        }
    }
}
