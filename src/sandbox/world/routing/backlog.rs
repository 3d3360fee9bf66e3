//! The backlog of a login (`sandbox-service.md` 6): sent at once, or in requested batches when a fault says so.

use crate::sandbox::world::ids::{ConnectionId, DeviceId};
use crate::sandbox::world::net::faults::FaultKind;
use crate::sandbox::world::net::schedule::{Action, FIRST_FRAME_DELAY};
use crate::sandbox::world::registry::companion::{Backlog, QueuedStanza};
use crate::sandbox::world::state::World;
use crate::wire::{Jid, Node};
use std::time::Duration;

/// The end of the backlog is announced after this time, even if stanzas are unacknowledged.
const OFFLINE_END_DELAY: Duration = Duration::from_secs(3);
/// Stanzas sent unrequested before the first batch.
const PRIMER: usize = 5;
/// Stanzas of one requested batch.
const MAX_BATCH: usize = 500;

impl World {
    /// Sends the queued stanzas; later ones are sent at once.
    pub(in crate::sandbox::world) fn send_backlog(&mut self, device: DeviceId, id: ConnectionId) {
        let at_login = |kind| matches!(kind, FaultKind::Pull | FaultKind::Hold);
        let is_here =
            |world: &mut Self| world.registry.companion_mut(&device).is_some_and(|it| it.connection == Some(id));
        if !is_here(self) {
            return;
        }
        let fault = self.fault(&device.number, at_login).map(|(kind, _)| kind);
        let Some(companion) = self.registry.companion_mut(&device) else { return };
        let left = companion.delivery.queue.iter().map(|queued| queued.sequence).collect();
        let count = companion.delivery.queue.len();
        companion.delivery.backlog = (count > 0).then_some(Backlog { left, count });
        companion.delivery.pulled = (count > 0 && fault.is_some()).then_some(0);
        companion.delivery.caught_up = companion.delivery.pulled.is_none();
        let preview = Node::new("ib").attr("from", Jid::service()).child(
            Node::new("offline_preview")
                .attr("count", count)
                .attr("message", count)
                .attr("receipt", "0")
                .attr("notification", "0")
                .attr("appdata", "0")
                .attr("call", "0")
                .attr("status", "0"),
        );
        self.send(id, &preview);
        match fault.filter(|_| count > 0) {
            Some(FaultKind::Hold) => {}
            Some(_) => self.send_batch(&device, id, PRIMER),
            None => {
                self.send_batch(&device, id, usize::MAX);
                let wait = if count == 0 { Duration::ZERO } else { OFFLINE_END_DELAY };
                self.after(wait, Action::OfflineEnd(device, id, count));
            }
        }
    }

    /// `<ib><offline_batch count/></ib>`: the device requests the next batch.
    pub(in crate::sandbox::world) fn handle_ib(&mut self, device: &DeviceId, id: ConnectionId, node: &Node) {
        let Some(asked) = node.find("offline_batch") else { return };
        let count = asked.number("count").and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        if self.registry.companion_mut(device).is_some_and(|it| it.delivery.pulled.is_some_and(|sent| sent > 0)) {
            self.send_batch(device, id, count.min(MAX_BATCH));
        }
    }

    fn send_batch(&mut self, device: &DeviceId, id: ConnectionId, count: usize) {
        let Some(companion) = self.registry.companion_mut(device) else { return };
        let sent = companion.delivery.pulled.unwrap_or(0);
        let next = companion.delivery.queue.iter().enumerate().filter(|(_, queued)| queued.sequence > sent).take(count);
        let batch: Vec<(usize, u64, Node)> =
            next.map(|(index, QueuedStanza { sequence, node })| (index, *sequence, node.clone())).collect();
        if companion.delivery.pulled.is_some() {
            match batch.last() {
                Some((_, last, _)) => companion.delivery.pulled = Some(*last),
                None => (companion.delivery.pulled, companion.delivery.caught_up) = (None, true),
            }
        }
        for (index, _, node) in batch {
            self.send(id, &node.attr("offline", index));
        }
        self.end_backlog(device);
    }

    /// Schedules the announcement of the end once the whole backlog is acknowledged.
    pub(in crate::sandbox::world) fn end_backlog(&mut self, device: &DeviceId) {
        let Some(companion) =
            self.registry.companion_mut(device).filter(|companion| companion.delivery.pulled.is_none())
        else {
            return;
        };
        let (Some(id), Some(backlog)) = (companion.connection, &companion.delivery.backlog) else { return };
        if backlog.left.is_empty() {
            let count = backlog.count;
            self.after(FIRST_FRAME_DELAY, Action::OfflineEnd(device.clone(), id, count));
        }
    }

    /// Announces the end of the backlog, once per login.
    pub(in crate::sandbox::world) fn announce_backlog_end(
        &mut self,
        device: &DeviceId,
        id: ConnectionId,
        count: usize,
    ) {
        let Some(companion) = self.registry.companion_mut(device).filter(|companion| companion.connection == Some(id))
        else {
            return;
        };
        companion.delivery.backlog = None;
        if std::mem::replace(&mut companion.delivery.end_announced, true) {
            return;
        }
        let offline = Node::new("offline").attr("count", count);
        self.send(id, &Node::new("ib").attr("from", Jid::service()).child(offline));
    }
}
