//! The service's role: XX, IK where the client knows our key already, and XXfallback where it knows an older one.

use super::{FALLBACK_NAME, Handshake, IK_NAME, SymmetricState, Transport, XX_NAME};
use crate::signal::{KeyPair, PublicKey};
use crate::wire::WireError;
use crate::wire::proto::{HandshakeMessage, handshake_message as fields};
use prost::Message;
use sha2::{Digest, Sha256};

/// The outcome of the client's first message.
pub enum HelloAnswered {
    /// XX: the client has not identified itself yet.
    Waiting(ServerHelloSent),
    /// IK: the first message completed the handshake.
    Done { transport: Box<Transport>, client: PublicKey, payload: Vec<u8> },
}

/// The service after it has answered the client's first message.
pub struct ServerHelloSent {
    state: SymmetricState,
    ephemeral: KeyPair,
    handshake: Handshake,
}

impl ServerHelloSent {
    /// Reads the client's first message, and answers it with `chain`, our certificates. Early data for another key than ours
    /// is answered by XXfallback.
    pub fn answer(
        prologue: &[u8],
        message: &[u8],
        ours: &KeyPair,
        ephemeral: KeyPair,
        chain: &[u8],
    ) -> Result<(HelloAnswered, Vec<u8>), WireError> {
        let malformed = WireError::Malformed { what: "client hello" };
        let hello = HandshakeMessage::decode(message).map_err(|_| malformed.clone())?;
        let hello = hello.client_hello.ok_or(malformed.clone())?;
        let theirs = PublicKey::parse(&hello.ephemeral.ok_or(malformed)?, "client's ephemeral key")?;
        let (Some(sealed_static), Some(payload)) = (hello.r#static, hello.payload) else {
            let fresh = (SymmetricState::new(XX_NAME, prologue), Handshake::Xx);
            return Self::answer_fresh(fresh, &theirs, ours, ephemeral, chain);
        };
        match EarlyData::open(prologue, ours, theirs, &sealed_static, &payload) {
            Ok(early) => early.accept(&ephemeral, chain),
            Err(_) => {
                let name = Sha256::digest(FALLBACK_NAME).into();
                let fallback = (SymmetricState::new(&name, prologue), Handshake::XxFallback);
                Self::answer_fresh(fallback, &theirs, ours, ephemeral, chain)
            }
        }
    }

    fn answer_fresh(
        (mut state, handshake): (SymmetricState, Handshake),
        theirs: &PublicKey,
        ours: &KeyPair,
        ephemeral: KeyPair,
        chain: &[u8],
    ) -> Result<(HelloAnswered, Vec<u8>), WireError> {
        state.mix_hash(theirs.as_bytes());
        state.mix_hash(ephemeral.public().as_bytes());
        state.mix_key(&ephemeral, theirs)?;
        let sealed_static = state.encrypt_and_hash(ours.public().as_bytes())?;
        state.mix_key(ours, theirs)?;
        let payload = state.encrypt_and_hash(chain)?;
        let answer = server_hello(&ephemeral, Some(sealed_static), payload);
        Ok((HelloAnswered::Waiting(Self { state, ephemeral, handshake }), answer))
    }

    pub fn handshake(&self) -> Handshake {
        self.handshake
    }

    /// Message 3 read: the client's static key and its payload.
    pub fn read_client_finish(mut self, message: &[u8]) -> Result<(Transport, PublicKey, Vec<u8>), WireError> {
        let malformed = WireError::Malformed { what: "client finish" };
        let finish = HandshakeMessage::decode(message).map_err(|_| malformed.clone())?;
        let finish = finish.client_finish.ok_or(malformed.clone())?;
        let (Some(sealed_static), Some(payload)) = (finish.r#static, finish.payload) else {
            return Err(malformed);
        };
        let theirs = self.state.decrypt_and_hash(&sealed_static, "client's static key")?;
        let theirs = PublicKey::parse(&theirs, "client's static key")?;
        self.state.mix_key(&self.ephemeral, &theirs)?;
        let payload = self.state.decrypt_and_hash(&payload, "client's payload")?;
        let (receiving, sending) = self.state.split();
        Ok((Transport { sending, receiving }, theirs, payload))
    }
}

/// An opened first message of IK.
struct EarlyData {
    state: SymmetricState,
    ephemeral: PublicKey,
    client: PublicKey,
    payload: Vec<u8>,
}

impl EarlyData {
    fn open(
        prologue: &[u8],
        ours: &KeyPair,
        ephemeral: PublicKey,
        sealed_static: &[u8],
        payload: &[u8],
    ) -> Result<Self, WireError> {
        let mut state = SymmetricState::new(IK_NAME, prologue);
        state.mix_hash(ours.public().as_bytes());
        state.mix_hash(ephemeral.as_bytes());
        state.mix_key(ours, &ephemeral)?;
        let client = state.decrypt_and_hash(sealed_static, "client's static key")?;
        let client = PublicKey::parse(&client, "client's static key")?;
        state.mix_key(ours, &client)?;
        let payload = state.decrypt_and_hash(payload, "client's payload")?;
        Ok(Self { state, ephemeral, client, payload })
    }

    fn accept(mut self, ephemeral: &KeyPair, chain: &[u8]) -> Result<(HelloAnswered, Vec<u8>), WireError> {
        self.state.mix_hash(ephemeral.public().as_bytes());
        self.state.mix_key(ephemeral, &self.ephemeral)?;
        self.state.mix_key(ephemeral, &self.client)?;
        let chain = self.state.encrypt_and_hash(chain)?;
        let (receiving, sending) = self.state.split();
        let transport = Box::new(Transport { sending, receiving });
        let answer = server_hello(ephemeral, None, chain);
        Ok((HelloAnswered::Done { transport, client: self.client, payload: self.payload }, answer))
    }
}

fn server_hello(ephemeral: &KeyPair, sealed_static: Option<Vec<u8>>, payload: Vec<u8>) -> Vec<u8> {
    let hello = fields::ServerHello {
        ephemeral: Some(ephemeral.public().as_bytes().to_vec()),
        r#static: sealed_static,
        payload: Some(payload),
    };
    HandshakeMessage { server_hello: Some(hello), ..HandshakeMessage::default() }.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{pair, rng, vector_bytes, vectors};

    const CHAIN: &[u8] = b"CERTCHAIN";

    fn answer(hello: &[u8], ours: &KeyPair) -> (HelloAnswered, String) {
        let ephemeral = pair(&vectors()["noise_xx"]["server_ephemeral_priv"]);
        let prologue = vector_bytes(&vectors()["noise_xx"]["prologue"]);
        let (answered, bytes) = ServerHelloSent::answer(&prologue, hello, ours, ephemeral, CHAIN).unwrap();
        (answered, hex::encode(bytes))
    }

    #[test]
    fn early_data_for_our_key_is_answered_as_the_known_answer_and_ends_the_handshake() {
        let known = &vectors()["noise_ik"];
        let ours = pair(&vectors()["noise_xx"]["server_static_priv"]);
        let (answered, bytes) = answer(&vector_bytes(&known["client_hello"]), &ours);
        assert_eq!(bytes, known["server_hello_accept"].as_str().unwrap());
        let HelloAnswered::Done { mut transport, client, payload } = answered else { panic!("not accepted") };
        assert_eq!(&client, pair(&vectors()["noise_xx"]["client_static_priv"]).public());
        assert_eq!(payload, b"CLIENTPAYLOAD");
        let frame = vector_bytes(&known["transport_client_frame0 plaintext 00f801"]);
        assert_eq!(transport.receiving.open(&frame).unwrap(), [0x00, 0xf8, 0x01]);
        let sealed = transport.sending.seal(&[0x00, 0xf8, 0x03]).unwrap();
        assert_eq!(hex::encode(sealed), known["transport_server_frame0 plaintext 00f803"].as_str().unwrap());
    }

    #[test]
    fn early_data_for_another_key_is_answered_by_xxfallback() {
        let known = &vectors()["noise_xxfallback"];
        let ours = pair(&vectors()["noise_xx"]["server_static_priv"]);
        let mut hello = vector_bytes(&known["client_hello"]);
        // Encrypted for an older key of ours: the client does not know the new one.
        *hello.last_mut().unwrap() ^= 1;
        let (answered, bytes) = answer(&hello, &ours);
        assert_eq!(bytes, known["server_hello"].as_str().unwrap());
        let HelloAnswered::Waiting(waiting) = answered else { panic!("accepted") };
        assert_eq!(waiting.handshake(), Handshake::XxFallback);
        let finish = vector_bytes(&known["client_finish"]);
        let (mut transport, client, payload) = waiting.read_client_finish(&finish).unwrap();
        assert_eq!(
            (client, payload),
            (*pair(&vectors()["noise_xx"]["client_static_priv"]).public(), b"CLIENTPAYLOAD".to_vec())
        );
        let frame = vector_bytes(&known["transport_client_frame0 plaintext 00f801"]);
        assert_eq!(transport.receiving.open(&frame).unwrap(), [0x00, 0xf8, 0x01]);
    }

    #[test]
    fn a_hello_without_early_data_begins_xx_whatever_our_key() {
        let hello = vector_bytes(&vectors()["noise_xx"]["client_hello"]);
        let (answered, _) = answer(&hello, &KeyPair::generate(&mut rng(1)));
        assert!(matches!(answered, HelloAnswered::Waiting(_)));
    }
}
