//! The client's role in XX.

use super::{SymmetricState, Transport, XX_NAME};
use crate::signal::{KeyPair, PublicKey};
use crate::wire::WireError;
use crate::wire::proto::{HandshakeMessage, handshake_message as fields};
use prost::Message;

/// The client after its first message.
pub struct ClientHelloSent {
    state: SymmetricState,
    ephemeral: KeyPair,
}

impl ClientHelloSent {
    /// Message 1: `clientHello { ephemeral }`.
    pub fn start(prologue: &[u8], ephemeral: KeyPair) -> (Self, Vec<u8>) {
        let mut state = SymmetricState::new(XX_NAME, prologue);
        state.mix_hash(ephemeral.public().as_bytes());
        let hello = HandshakeMessage {
            client_hello: Some(fields::ClientHello {
                ephemeral: Some(ephemeral.public().as_bytes().to_vec()),
                ..Default::default()
            }),
            ..Default::default()
        };
        (Self { state, ephemeral }, hello.encode_to_vec())
    }

    /// Message 2 read: the service's static key and its payload (the certificate chain), not yet trusted.
    pub fn read_server_hello(mut self, message: &[u8]) -> Result<(ServerHelloRead, PublicKey, Vec<u8>), WireError> {
        let malformed = WireError::Malformed { what: "server hello" };
        let hello = HandshakeMessage::decode(message).map_err(|_| malformed.clone())?;
        let hello = hello.server_hello.ok_or(malformed.clone())?;
        let (Some(ephemeral), Some(sealed_static), Some(payload)) = (hello.ephemeral, hello.r#static, hello.payload)
        else {
            return Err(malformed);
        };
        let theirs = PublicKey::parse(&ephemeral, "service's ephemeral key")?;
        self.state.mix_hash(theirs.as_bytes());
        self.state.mix_key(&self.ephemeral, &theirs)?;
        let their_static = self.state.decrypt_and_hash(&sealed_static, "service's static key")?;
        let their_static = PublicKey::parse(&their_static, "service's static key")?;
        self.state.mix_key(&self.ephemeral, &their_static)?;
        let payload = self.state.decrypt_and_hash(&payload, "service's payload")?;
        Ok((ServerHelloRead { state: self.state, their_ephemeral: theirs }, their_static, payload))
    }
}

/// The client after it has read the service's answer; the caller verifies the certificate before it goes on.
pub struct ServerHelloRead {
    state: SymmetricState,
    their_ephemeral: PublicKey,
}

impl ServerHelloRead {
    /// Message 3: `clientFinish { static, payload }`.
    pub fn finish(mut self, ours: &KeyPair, payload: &[u8]) -> Result<(Transport, Vec<u8>), WireError> {
        let sealed_static = self.state.encrypt_and_hash(ours.public().as_bytes())?;
        self.state.mix_key(ours, &self.their_ephemeral)?;
        let payload = self.state.encrypt_and_hash(payload)?;
        let finish = HandshakeMessage {
            client_finish: Some(fields::ClientFinish { r#static: Some(sealed_static), payload: Some(payload) }),
            ..Default::default()
        };
        let (sending, receiving) = self.state.split();
        Ok((Transport { sending, receiving }, finish.encode_to_vec()))
    }
}
