//! The state of the network, grouped by who changes it. The rooms are `impl World` blocks in their own files.

use super::groups::group::Groups;
use super::ids::{ConnectionId, DeviceId};
use super::journal::Journal;
use super::net::connections::{Connections, Role};
use super::net::faults::{FaultKind, Faults};
use super::net::identity::{Identity, ServiceKeys};
use super::net::media_host::MediaHost;
use super::net::monitor::Monitor;
use super::net::schedule::{Action, RECEIPT_DELAY, Schedule};
use super::registry::accounts::Registry;
use super::row::Row;
use crate::base::ids::random_hex;
use crate::base::time::Timestamp;
use crate::wire::Node;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::time::Duration;

/// The whole sandbox network.
pub struct World {
    pub(in crate::sandbox::world) rng: StdRng,
    pub(in crate::sandbox::world) now: Timestamp,
    pub(in crate::sandbox::world) identity: Identity,
    pub(in crate::sandbox::world) connections: Connections,
    pub(in crate::sandbox::world) registry: Registry,
    pub(in crate::sandbox::world) groups: Groups,
    pub(in crate::sandbox::world) media: MediaHost,
    pub(in crate::sandbox::world) journal: Journal,
    pub(in crate::sandbox::world) schedule: Schedule,
    pub(in crate::sandbox::world) monitor: Monitor,
    pub(in crate::sandbox::world) faults: Faults,
}

impl World {
    /// A network whose every key and number follows from `seed`.
    pub fn new(seed: u64, now: Timestamp) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let keys = ServiceKeys::generate(&mut rng);
        Self::with_keys(rng, keys, now)
    }

    pub(in crate::sandbox::world) fn with_keys(mut rng: StdRng, keys: ServiceKeys, now: Timestamp) -> Self {
        let identity = Identity::new(keys, now, &mut rng);
        Self {
            rng,
            now,
            identity,
            connections: Connections::default(),
            registry: Registry::default(),
            groups: Groups::default(),
            media: MediaHost::default(),
            journal: Journal::default(),
            schedule: Schedule::default(),
            monitor: Monitor::default(),
            faults: Faults::default(),
        }
    }

    /// Marks a row as changed, if rows are stored.
    pub(in crate::sandbox::world) fn touch(&mut self, row: impl FnOnce() -> Row) {
        self.journal.touch(row);
    }

    pub(in crate::sandbox::world) fn after(&mut self, wait: Duration, action: Action) {
        self.schedule.add(self.now.plus(wait), action);
    }

    pub(in crate::sandbox::world) fn send(&mut self, id: ConnectionId, node: &Node) {
        match self.connections.send(id, node) {
            Ok(true) => self.monitor.sent(self.now, self.connections.device(id), node),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(connection = id.0, %error, "stanza cannot be sent, closing the connection");
                self.connections.close_socket(id);
            }
        }
    }

    /// Sends on the device's own connection; phones have none.
    pub(in crate::sandbox::world) fn send_to_device(&mut self, device: &DeviceId, node: &Node) {
        if let Some(connection) = self.registry.companion(device).and_then(|companion| companion.connection) {
            self.send(connection, node);
        }
    }

    /// Closes a connection once its client has had time to read the reason.
    pub(in crate::sandbox::world) fn leave(&mut self, id: ConnectionId) {
        self.connections.set_role(id, Role::Leaving);
        self.after(RECEIPT_DELAY, Action::Close(id));
    }

    pub(in crate::sandbox::world) fn new_stanza_id(&mut self) -> String {
        random_hex::<8>(&mut self.rng).to_uppercase()
    }

    /// Counts a due fault of an account as happened.
    pub(in crate::sandbox::world) fn fault(
        &mut self,
        number: &str,
        wanted: impl Fn(FaultKind) -> bool,
    ) -> Option<(FaultKind, u64)> {
        self.faults.hit(number, self.now, wanted)
    }
}
