//! A connection without its socket: framing, handshake and transport as one machine, for each role.
//!
//! Bytes in, events out; `take_output` is what goes to the socket. Once a method has returned an error the machine is
//! finished and the connection must be closed.

use super::cert::verify_chain;
use super::frame::{FrameReader, HEADER, intro, write_frame};
use super::noise::{ClientHelloSent, Handshake, HelloAnswered, ServerHelloSent, Transport};
use super::payload::NoiseKeys;
use super::{Node, WireError, decode_frame, encode_frame};
use crate::signal::{KeyPair, PublicKey};

/// Events of a client's connection.
#[derive(Debug, PartialEq)]
pub enum ClientEvent {
    /// The handshake is done and the service is authenticated: stanzas can be sent.
    Ready,
    Stanza(Node),
}

enum ClientState {
    Hello(Box<ClientHelloSent>),
    Open(Box<Transport>),
    Failed,
}

/// The client's end.
pub struct ClientTransport {
    keys: NoiseKeys,
    payload: Vec<u8>,
    state: ClientState,
    reader: FrameReader,
    output: Vec<u8>,
}

impl ClientTransport {
    /// Begins the handshake: `take_output` holds the first bytes.
    pub fn connect(
        keys: NoiseKeys,
        payload: Vec<u8>,
        ephemeral: KeyPair,
        routing_info: Option<&[u8]>,
    ) -> Result<Self, WireError> {
        let (hello, message) = ClientHelloSent::start(&HEADER, ephemeral);
        let mut output = intro(routing_info);
        write_frame(&mut output, &message)?;
        let state = ClientState::Hello(Box::new(hello));
        Ok(Self { keys, payload, state, reader: FrameReader::default(), output })
    }

    pub fn receive(&mut self, bytes: &[u8]) -> Result<Vec<ClientEvent>, WireError> {
        self.reader.push(bytes);
        let mut events = Vec::new();
        while let Some(frame) = self.reader.next_frame()? {
            events.push(self.frame(&frame)?);
        }
        Ok(events)
    }

    fn frame(&mut self, frame: &[u8]) -> Result<ClientEvent, WireError> {
        match std::mem::replace(&mut self.state, ClientState::Failed) {
            ClientState::Hello(hello) => {
                let (read, their_static, chain) = hello.read_server_hello(frame)?;
                verify_chain(&self.keys.root, &chain, &their_static)?;
                let (transport, finish) = read.finish(&self.keys.ours, &self.payload)?;
                write_frame(&mut self.output, &finish)?;
                self.state = ClientState::Open(Box::new(transport));
                Ok(ClientEvent::Ready)
            }
            ClientState::Open(mut transport) => {
                let node = decode_frame(&transport.receiving.open(frame)?)?;
                self.state = ClientState::Open(transport);
                Ok(ClientEvent::Stanza(node))
            }
            ClientState::Failed => Err(WireError::Handshake { what: "connection that has failed before" }),
        }
    }

    /// Queues a stanza; fails before the handshake is done.
    pub fn send(&mut self, node: &Node) -> Result<(), WireError> {
        match &mut self.state {
            ClientState::Open(transport) => seal_into(&mut self.output, transport, node),
            _ => Err(WireError::Handshake { what: "stanza before the handshake" }),
        }
    }

    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}

fn seal_into(output: &mut Vec<u8>, transport: &mut Transport, node: &Node) -> Result<(), WireError> {
    let sealed = transport.sending.seal(&encode_frame(node))?;
    write_frame(output, &sealed)
}

/// Events of the service's end.
#[derive(Debug, PartialEq)]
pub enum ServerEvent {
    /// The handshake is done: the client's Noise key and its payload.
    Ready {
        client: PublicKey,
        payload: Vec<u8>,
        handshake: Handshake,
    },
    Stanza(Node),
}

enum ServerState {
    Intro,
    Hello,
    Finish(Box<ServerHelloSent>),
    Open(Box<Transport>),
    Failed,
}

/// The service's end.
pub struct ServerTransport {
    ours: KeyPair,
    chain: Vec<u8>,
    ephemeral: Option<KeyPair>,
    state: ServerState,
    reader: FrameReader,
    output: Vec<u8>,
}

impl ServerTransport {
    pub fn accept(ours: KeyPair, chain: Vec<u8>, ephemeral: KeyPair) -> Self {
        let (state, reader) = (ServerState::Intro, FrameReader::default());
        Self { ours, chain, ephemeral: Some(ephemeral), state, reader, output: Vec::new() }
    }

    pub fn receive(&mut self, bytes: &[u8]) -> Result<Vec<ServerEvent>, WireError> {
        self.reader.push(bytes);
        let mut events = Vec::new();
        if matches!(self.state, ServerState::Intro) && !self.read_intro()? {
            return Ok(events);
        }
        while let Some(frame) = self.reader.next_frame()? {
            events.extend(self.frame(&frame)?);
        }
        Ok(events)
    }

    /// Skips the routing intro where there is one, and checks the header. False when more bytes are needed.
    fn read_intro(&mut self) -> Result<bool, WireError> {
        let bytes = self.reader.peek();
        let routing = match bytes {
            [b'E', b'D', _, _, a, b, c, ..] => 7 + u32::from_be_bytes([0, *a, *b, *c]) as usize,
            [b'E', ..] => return Ok(false),
            _ => 0,
        };
        if routing > 4096 {
            return Err(WireError::TooLarge { what: "routing intro", limit: 4096 });
        }
        let Some(header) = bytes.get(routing..routing + 4) else {
            return Ok(false);
        };
        if header != HEADER {
            return Err(WireError::Malformed { what: "connection header: only dictionary version 3 is served" });
        }
        self.reader.take(routing + 4);
        self.state = ServerState::Hello;
        Ok(true)
    }

    fn frame(&mut self, frame: &[u8]) -> Result<Option<ServerEvent>, WireError> {
        match std::mem::replace(&mut self.state, ServerState::Failed) {
            ServerState::Hello => {
                let ephemeral = self.ephemeral.take().ok_or(WireError::Handshake { what: "second client hello" })?;
                let (answered, answer) = ServerHelloSent::answer(&HEADER, frame, &self.ours, ephemeral, &self.chain)?;
                write_frame(&mut self.output, &answer)?;
                match answered {
                    HelloAnswered::Waiting(sent) => {
                        self.state = ServerState::Finish(Box::new(sent));
                        Ok(None)
                    }
                    HelloAnswered::Done { transport, client, payload } => {
                        self.state = ServerState::Open(transport);
                        Ok(Some(ServerEvent::Ready { client, payload, handshake: Handshake::Ik }))
                    }
                }
            }
            ServerState::Finish(sent) => {
                let handshake = sent.handshake();
                let (transport, client, payload) = sent.read_client_finish(frame)?;
                self.state = ServerState::Open(Box::new(transport));
                Ok(Some(ServerEvent::Ready { client, payload, handshake }))
            }
            ServerState::Open(mut transport) => {
                let node = decode_frame(&transport.receiving.open(frame)?)?;
                self.state = ServerState::Open(transport);
                Ok(Some(ServerEvent::Stanza(node)))
            }
            ServerState::Intro | ServerState::Failed => {
                Err(WireError::Handshake { what: "connection that has failed before" })
            }
        }
    }

    pub fn send(&mut self, node: &Node) -> Result<(), WireError> {
        match &mut self.state {
            ServerState::Open(transport) => seal_into(&mut self.output, transport, node),
            _ => Err(WireError::Handshake { what: "stanza before the handshake" }),
        }
    }

    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;
    use crate::signal::testing::rng;
    use crate::wire::CertAuthority;

    fn connected(
        trust: impl FnOnce(&CertAuthority) -> PublicKey,
    ) -> Result<(ClientTransport, ServerTransport), WireError> {
        let mut rng = rng(1);
        let mut pair = || KeyPair::generate(&mut rng);
        let (authority, service, ours) = (CertAuthority::new(pair(), pair()), pair(), pair());
        let (client_ephemeral, server_ephemeral) = (pair(), pair());
        let chain = authority.issue(service.public(), Timestamp::from_secs(1), &mut rng);
        let keys = NoiseKeys { ours, root: trust(&authority) };
        let mut client = ClientTransport::connect(keys, b"payload".to_vec(), client_ephemeral, Some(b"edge"))?;
        let mut server = ServerTransport::accept(service, chain, server_ephemeral);
        for byte in client.take_output() {
            assert_eq!(server.receive(&[byte])?, []);
        }
        assert_eq!(client.receive(&server.take_output())?, [ClientEvent::Ready]);
        let events = server.receive(&client.take_output())?;
        assert!(matches!(&events[..], [ServerEvent::Ready { payload, .. }] if payload == b"payload"));
        Ok((client, server))
    }

    #[test]
    fn stanzas_flow_both_ways_after_the_handshake() {
        let (mut client, mut server) = connected(|authority| *authority.root_key()).unwrap();
        let node = Node::new("iq").attr("id", "1");
        client.send(&node).unwrap();
        client.send(&node).unwrap();
        let expected = || ServerEvent::Stanza(node.clone());
        assert_eq!(server.receive(&client.take_output()).unwrap(), [expected(), expected()]);
        server.send(&node).unwrap();
        assert_eq!(client.receive(&server.take_output()).unwrap(), [ClientEvent::Stanza(node)]);
    }

    #[test]
    fn a_service_with_another_root_is_refused_before_our_identity_is_sent() {
        let other = KeyPair::generate(&mut rng(9));
        let refused = connected(|_| *other.public()).err().unwrap();
        assert!(matches!(refused, WireError::Certificate { .. }), "{refused}");
    }
}
