//! The network as a sans-IO machine: bytes of connections in, bytes out, time as an argument.

use crate::base::time::Timestamp;
use crate::sandbox::world::ids::{ConnectionId, DeviceId};
use crate::sandbox::world::net::connections::{Output, Role};
use crate::sandbox::world::net::monitor::Tap;
use crate::sandbox::world::net::schedule::Action;
use crate::sandbox::world::state::World;
use crate::signal::PublicKey;
use crate::wire::Node;
use crate::wire::transport::ServerEvent;

impl World {
    /// Has every stanza of a linked device shown to `tap` before it is handled.
    pub fn tap(&mut self, tap: Tap) {
        self.monitor.set_tap(tap);
    }

    /// The certificate root that clients must trust.
    pub fn root_key(&self) -> &PublicKey {
        self.identity.root_key()
    }

    /// Advances time and runs the due actions. Call this before any input.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while let Some(action) = self.schedule.next_due(self.now) {
            self.run(action);
        }
    }

    /// When [`advance`](Self::advance) is due.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.schedule.deadline()
    }

    pub fn next_output(&mut self) -> Option<Output> {
        self.connections.next_output()
    }

    /// A client has connected.
    pub fn connected(&mut self, id: ConnectionId) {
        self.connections.open(id, self.identity.accept(&mut self.rng));
    }

    /// A client has disconnected.
    pub fn closed(&mut self, id: ConnectionId) {
        if let Some(Role::Online(device)) = self.connections.remove(id) {
            self.log_out(id, &device);
        }
    }

    /// Closes the socket of a client, and logs its device out.
    pub(in crate::sandbox::world) fn close(&mut self, id: ConnectionId) {
        self.connections.close_socket(id);
        self.closed(id);
    }

    /// A client has sent bytes.
    pub fn received(&mut self, id: ConnectionId, bytes: &[u8]) {
        match self.connections.receive(id, bytes) {
            Ok(events) => {
                for event in events {
                    match event {
                        ServerEvent::Ready { client, payload, handshake } => {
                            self.handshake_done(id, (client, handshake), &payload)
                        }
                        ServerEvent::Stanza(node) => self.dispatch(id, &node),
                    }
                }
            }
            Err(error) => {
                tracing::warn!(connection = id.0, %error, "client violated the protocol, closing the connection");
                self.connections.close_socket(id);
            }
        }
    }

    fn dispatch(&mut self, id: ConnectionId, node: &Node) {
        let device = match self.connections.role(id) {
            Some(Role::Online(device)) => Some(device.clone()),
            Some(Role::Linking(_)) => None,
            Some(Role::Handshaking | Role::Leaving) | None => return,
        };
        self.monitor.received(self.now, device.as_ref(), node);
        match (device, node.tag.as_ref()) {
            (None, "iq") => self.linking_iq(id, node),
            (None, _) => {}
            (Some(device), "iq") => self.handle_iq(id, &device, node),
            (Some(device), "message") => self.accept_message(id, &device, node),
            (Some(device), "receipt") => self.route_receipt(&device, node),
            (Some(device), "ack") => self.handle_ack(&device, node),
            (Some(device), "ib") => self.handle_ib(&device, id, node),
            (Some(device), "presence") => self.handle_presence(&device, node),
            (Some(device), "chatstate") => self.route_chat_state(&device, node),
            (Some(_), _) => {}
        }
    }

    fn run(&mut self, action: Action) {
        match action {
            Action::Send(id, node) => self.send(id, &node),
            Action::Close(id) => self.close(id),
            Action::Deliver(device, node) => self.deliver(&device, *node),
            Action::DeliverNow(device, node) => self.deliver_now(&device, *node),
            Action::Release(device) => self.release(&device),
            Action::Backlog(device, id) => self.send_backlog(device, id),
            Action::OfflineEnd(device, id, count) => self.announce_backlog_end(&device, id, count),
            Action::Receipt { phone, receipt } => self.route_receipt(&DeviceId::phone(&phone), &receipt),
            Action::Vouch { client, number, adv_secret } => self.vouch_after_proof(&number, client, &adv_secret),
            Action::Welcome(device) => self.welcome(&device),
        }
    }
}
