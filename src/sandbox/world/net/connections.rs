//! Open connections, and the output for their sockets.

use crate::sandbox::world::ids::{ConnectionId, DeviceId};
use crate::sandbox::world::linking::request::LinkRequest;
use crate::wire::transport::{ServerEvent, ServerTransport};
use crate::wire::{Node, WireError};
use std::collections::{HashMap, VecDeque};

/// An instruction for the owner of the sockets.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    Bytes(ConnectionId, Vec<u8>),
    Close(ConnectionId),
}

pub(in crate::sandbox::world) enum Role {
    Handshaking,
    Linking(Box<LinkRequest>),
    Online(DeviceId),
    /// The service has announced the end of the connection.
    Leaving,
}

struct Connection {
    link: ServerTransport,
    role: Role,
}

#[derive(Default)]
pub(in crate::sandbox::world) struct Connections {
    open: HashMap<ConnectionId, Connection>,
    output: VecDeque<Output>,
}

impl Connections {
    pub(in crate::sandbox::world) fn open(&mut self, id: ConnectionId, link: ServerTransport) {
        self.open.insert(id, Connection { link, role: Role::Handshaking });
    }

    pub(in crate::sandbox::world) fn remove(&mut self, id: ConnectionId) -> Option<Role> {
        self.open.remove(&id).map(|connection| connection.role)
    }

    pub(in crate::sandbox::world) fn role(&self, id: ConnectionId) -> Option<&Role> {
        self.open.get(&id).map(|connection| &connection.role)
    }

    pub(in crate::sandbox::world) fn set_role(&mut self, id: ConnectionId, role: Role) {
        if let Some(connection) = self.open.get_mut(&id) {
            connection.role = role;
        }
    }

    /// The device that is logged in on a connection.
    pub(in crate::sandbox::world) fn device(&self, id: ConnectionId) -> Option<&DeviceId> {
        match self.role(id)? {
            Role::Online(device) => Some(device),
            _ => None,
        }
    }

    /// Decrypts what a client has sent; answers of the handshake go out.
    pub(in crate::sandbox::world) fn receive(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
    ) -> Result<Vec<ServerEvent>, WireError> {
        let Some(connection) = self.open.get_mut(&id) else { return Ok(Vec::new()) };
        let events = connection.link.receive(bytes);
        let answer = connection.link.take_output();
        if !answer.is_empty() {
            self.output.push_back(Output::Bytes(id, answer));
        }
        events
    }

    /// Encrypts a stanza for a client; `false` when the connection is closed.
    pub(in crate::sandbox::world) fn send(&mut self, id: ConnectionId, node: &Node) -> Result<bool, WireError> {
        let Some(connection) = self.open.get_mut(&id) else { return Ok(false) };
        connection.link.send(node)?;
        let bytes = connection.link.take_output();
        self.output.push_back(Output::Bytes(id, bytes));
        Ok(true)
    }

    pub(in crate::sandbox::world) fn close_socket(&mut self, id: ConnectionId) {
        self.output.push_back(Output::Close(id));
    }

    pub(in crate::sandbox::world) fn next_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    pub(in crate::sandbox::world) fn link_requests(&self) -> impl Iterator<Item = (ConnectionId, &LinkRequest)> {
        self.open.iter().filter_map(|(id, connection)| match &connection.role {
            Role::Linking(request) => Some((*id, &**request)),
            _ => None,
        })
    }

    pub(in crate::sandbox::world) fn link_request(&self, id: ConnectionId) -> Option<&LinkRequest> {
        match self.role(id) {
            Some(Role::Linking(request)) => Some(request),
            _ => None,
        }
    }

    pub(in crate::sandbox::world) fn link_request_mut(&mut self, id: ConnectionId) -> Option<&mut LinkRequest> {
        match self.open.get_mut(&id).map(|connection| &mut connection.role) {
            Some(Role::Linking(request)) => Some(request),
            _ => None,
        }
    }
}
