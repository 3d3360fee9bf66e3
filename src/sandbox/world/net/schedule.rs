//! Actions at a later point in time.

use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::sandbox::world::ids::{ConnectionId, DeviceId};
use crate::wire::Node;
use std::collections::BTreeMap;
use std::time::Duration;

/// Older clients lose a frame that follows the handshake immediately (`sandbox-service.md` 8.1).
pub(in crate::sandbox::world) const FIRST_FRAME_DELAY: Duration = Duration::from_millis(40);
/// Clients are not prepared for receipts that arrive faster than a network allows (8.7).
pub(in crate::sandbox::world) const RECEIPT_DELAY: Duration = Duration::from_millis(50);

pub(in crate::sandbox::world) enum Action {
    Send(ConnectionId, Box<Node>),
    Close(ConnectionId),
    Deliver(DeviceId, Box<Node>),
    /// Delivers without another fault.
    DeliverNow(DeviceId, Box<Node>),
    /// Delivers the reordered stanzas of a device.
    Release(DeviceId),
    Backlog(DeviceId, ConnectionId),
    OfflineEnd(DeviceId, ConnectionId, usize),
    /// A phone sends a receipt.
    Receipt {
        phone: String,
        receipt: Box<Node>,
    },
    /// A phone signs the identity of a client that has proved the code.
    Vouch {
        client: ConnectionId,
        number: String,
        adv_secret: Secret<32>,
    },
    /// A phone sends keys and history to a new companion.
    Welcome(DeviceId),
}

/// Pending actions by time; those of one moment in the order in which they were added.
#[derive(Default)]
pub(in crate::sandbox::world) struct Schedule {
    actions: BTreeMap<(Timestamp, u64), Action>,
    added: u64,
}

impl Schedule {
    pub(in crate::sandbox::world) fn add(&mut self, at: Timestamp, action: Action) {
        self.added += 1;
        self.actions.insert((at, self.added), action);
    }

    /// Takes the first action that is due.
    pub(in crate::sandbox::world) fn next_due(&mut self, now: Timestamp) -> Option<Action> {
        let entry = self.actions.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    pub(in crate::sandbox::world) fn deadline(&self) -> Option<Timestamp> {
        self.actions.keys().next().map(|(at, _)| *at)
    }
}
