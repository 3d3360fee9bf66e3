//! From the handshake to a device that is online (`sandbox-service.md` 3 and 6): refusals, what waited, and its end.

use crate::sandbox::world::linking::scan::LinkRequest;
use crate::sandbox::world::{Action, ConnectionId, DeviceId, FIRST_FRAME_DELAY, Role, World};
use crate::signal::PublicKey;
use crate::wire::noise::Handshake;
use crate::wire::payload::{ClientIntent, read};
use crate::wire::{Jid, Node};

impl World {
    pub(in crate::sandbox::world) fn ready(
        &mut self,
        id: ConnectionId,
        (client, handshake): (PublicKey, Handshake),
        payload: &[u8],
    ) {
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

    pub(in crate::sandbox::world) fn fail_login(&mut self, id: ConnectionId, reason: u64) {
        let failure = Node::new("failure").attr("reason", reason).attr("location", "sandbox");
        self.after(FIRST_FRAME_DELAY, Action::Send(id, Box::new(failure)));
        self.after(FIRST_FRAME_DELAY * 2, Action::Close(id));
        self.set_role(id, Role::Leaving);
    }
}
