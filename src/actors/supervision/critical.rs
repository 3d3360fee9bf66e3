//! Actors that the process cannot do without. One that goes down by a panic takes the server with it: what it would have done can
//! be done by nobody else, everything is durable, and whatever supervises the process starts it anew.

use std::sync::Arc;
use tokio::sync::watch;

/// Tells which vital actor went down.
#[derive(Clone)]
pub(in crate::actors) struct Vitals(Arc<watch::Sender<Option<&'static str>>>);

impl Default for Vitals {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Vitals {
    /// A guard for an actor to hold.
    pub(in crate::actors) fn guard(&self, name: &'static str) -> Vital {
        Vital { name, vitals: self.clone() }
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
pub(in crate::actors) struct Vital {
    name: &'static str,
    vitals: Vitals,
}

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(actor = self.name, "an actor went down that the server cannot do without");
            self.vitals.0.send_replace(Some(self.name));
        }
    }
}
