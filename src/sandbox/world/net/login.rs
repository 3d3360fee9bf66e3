//! Login of a device, from the end of the handshake to `<success>` (`sandbox-service.md` 3 and 6).

use crate::sandbox::world::ids::{ConnectionId, DeviceId};
use crate::sandbox::world::net::connections::Role;
use crate::sandbox::world::net::schedule::{Action, FIRST_FRAME_DELAY};
use crate::sandbox::world::state::World;
use crate::signal::PublicKey;
use crate::wire::noise::Handshake;
use crate::wire::payload::{ClientIntent, read};
use crate::wire::{Jid, Node};

impl World {
    pub(in crate::sandbox::world) fn handshake_done(
        &mut self,
        id: ConnectionId,
        (client, handshake): (PublicKey, Handshake),
        payload: &[u8],
    ) {
        match read(payload) {
            Ok(ClientIntent::Link { registration_id, identity, push_name }) => {
                self.begin_linking(id, client, registration_id, identity, push_name);
            }
            Ok(ClientIntent::Login { device }) => self.log_in(id, &device, client, handshake),
            Err(error) => {
                tracing::warn!(connection = id.0, %error, "client payload rejected");
                self.fail_login(id, 400);
            }
        }
    }

    fn log_in(&mut self, id: ConnectionId, jid: &Jid, client: PublicKey, handshake: Handshake) {
        let device = DeviceId::new(jid.user(), jid.device());
        let known = self.registry.companion_mut(&device).filter(|companion| companion.keys.noise == client);
        let Some(companion) = known else {
            self.fail_login(id, 401);
            return;
        };
        let old = companion.connection.replace(id);
        companion.delivery.caught_up = false;
        companion.delivery.end_announced = false;
        companion.handshake = Some(handshake);
        if let Some(old) = old {
            let conflict = Node::new("conflict").attr("type", "replaced");
            self.send(old, &Node::new("stream:error").child(conflict));
            self.leave(old);
        }
        self.connections.set_role(id, Role::Online(device.clone()));
        let Some(account) = self.registry.account(&device.number) else { return };
        let success = Node::new("success")
            .attr("t", self.now.secs())
            .attr("creation", self.now.secs())
            .attr("props", "28")
            .attr("lid", account.lid.with_device(device.device))
            .attr("display_name", account.name.clone());
        self.after(FIRST_FRAME_DELAY, Action::Send(id, Box::new(success)));
        self.after(FIRST_FRAME_DELAY, Action::Backlog(device, id));
    }

    pub(in crate::sandbox::world) fn fail_login(&mut self, id: ConnectionId, reason: u64) {
        let failure = Node::new("failure").attr("reason", reason).attr("location", "sandbox");
        self.after(FIRST_FRAME_DELAY, Action::Send(id, Box::new(failure)));
        self.after(FIRST_FRAME_DELAY * 2, Action::Close(id));
        self.connections.set_role(id, Role::Leaving);
    }

    /// A device's connection is closed: its presence subscriptions end.
    pub(in crate::sandbox::world) fn log_out(&mut self, id: ConnectionId, device: &DeviceId) {
        let Some(companion) = self.registry.companion_mut(device).filter(|it| it.connection == Some(id)) else {
            return;
        };
        companion.connection = None;
        companion.delivery.backlog = None;
        let was_available = std::mem::take(&mut companion.available);
        for watched in std::mem::take(&mut companion.watching) {
            if let Some(account) = self.registry.account_mut(&watched) {
                account.watchers.retain(|(watcher, _)| watcher != device);
            }
        }
        if was_available {
            self.announce_presence(&device.number);
        }
    }
}
