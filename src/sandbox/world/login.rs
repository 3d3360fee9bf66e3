//! From the handshake to a device that is online (`sandbox-service.md` 3 and 6): refusals, what waited, and its end.

use super::account::Backlog;
use super::linking::LinkRequest;
use super::{Action, ConnectionId, DeviceId, FIRST_FRAME_DELAY, Role, World};
use crate::signal::PublicKey;
use crate::wire::noise::Handshake;
use crate::wire::payload::{ClientIntent, read};
use crate::wire::{Jid, Node};
use std::time::Duration;

/// How long the end of the backlog is held back for its acknowledgement.
const OFFLINE_END_DELAY: Duration = Duration::from_secs(3);

impl World {
    pub(super) fn ready(&mut self, id: ConnectionId, (client, handshake): (PublicKey, Handshake), payload: &[u8]) {
        match read(payload) {
            Ok(ClientIntent::Link { registration_id, identity, push_name }) => {
                self.offer_references(id, LinkRequest::new(client, registration_id, identity, push_name));
            }
            Ok(ClientIntent::Login { device }) => self.log_in(id, &device, client, handshake),
            Err(error) => {
                tracing::warn!(connection = id.0, %error, "a client's payload is refused");
                self.fail_login(id, 400);
            }
        }
    }

    fn log_in(&mut self, id: ConnectionId, jid: &Jid, client: PublicKey, handshake: Handshake) {
        let device = DeviceId { number: jid.user().to_owned(), device: jid.device() };
        let known = self.companion_mut(&device).filter(|companion| companion.noise == client);
        let Some(companion) = known else {
            self.fail_login(id, 401);
            return;
        };
        let old = companion.connection.replace(id);
        companion.caught_up = false;
        companion.told_end = false;
        companion.handshake = Some(handshake);
        if let Some(old) = old {
            let conflict = Node::new("conflict").attr("type", "replaced");
            self.send(old, &Node::new("stream:error").child(conflict));
            self.leave(old);
        }
        self.set_role(id, Role::Online(device.clone()));
        let Some(account) = self.accounts.get(&device.number) else { return };
        let success = Node::new("success")
            .attr("t", self.now.secs())
            .attr("creation", self.now.secs())
            .attr("props", "28")
            .attr("lid", account.lid.with_device(device.device))
            .attr("display_name", account.name.clone());
        self.after(FIRST_FRAME_DELAY, Action::Send(id, Box::new(success)));
        self.after(FIRST_FRAME_DELAY, Action::Backlog(device, id));
    }

    /// What waited for the login goes first; what comes from now on is sent at once.
    pub(super) fn send_backlog(&mut self, device: DeviceId, id: ConnectionId) {
        let Some(companion) = self.companion_mut(&device).filter(|companion| companion.connection == Some(id)) else {
            return;
        };
        companion.caught_up = true;
        let backlog: Vec<Node> = companion.queue.iter().map(|kept| kept.node.clone()).collect();
        let left = companion.queue.iter().map(|kept| kept.sequence).collect();
        let count = backlog.len();
        companion.backlog = (count > 0).then_some(Backlog { left, count });
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
        for (index, node) in backlog.into_iter().enumerate() {
            self.send(id, &node.attr("offline", index));
        }
        let wait = if count == 0 { Duration::ZERO } else { OFFLINE_END_DELAY };
        self.after(wait, Action::OfflineEnd(device, id, count));
    }

    /// The backlog has been acknowledged.
    pub(super) fn end_backlog(&mut self, device: &DeviceId) {
        let Some(companion) = self.companion_mut(device) else { return };
        let (Some(id), Some(backlog)) = (companion.connection, &companion.backlog) else { return };
        let count = backlog.count;
        self.after(FIRST_FRAME_DELAY, Action::OfflineEnd(device.clone(), id, count));
    }

    /// Says that the backlog has been sent; once for each login.
    pub(super) fn say_backlog_ended(&mut self, device: &DeviceId, id: ConnectionId, count: usize) {
        let Some(companion) = self.companion_mut(device).filter(|companion| companion.connection == Some(id)) else {
            return;
        };
        companion.backlog = None;
        if std::mem::replace(&mut companion.told_end, true) {
            return;
        }
        let offline = Node::new("offline").attr("count", count);
        self.send(id, &Node::new("ib").attr("from", Jid::service()).child(offline));
    }

    pub(super) fn fail_login(&mut self, id: ConnectionId, reason: u64) {
        let failure = Node::new("failure").attr("reason", reason).attr("location", "sandbox");
        self.after(FIRST_FRAME_DELAY, Action::Send(id, Box::new(failure)));
        self.after(FIRST_FRAME_DELAY * 2, Action::Close(id));
        self.set_role(id, Role::Leaving);
    }
}
