//! The Noise handshake and the transport it yields (Noise Protocol Framework rev. 34, sections 5.2 and 7.5;
//! `wire-protocol.md` 1.3): XX in both roles, and for the service IK with its fallback.
//! A state is consumed by its transition: no step can be repeated or skipped.

mod client;
mod service;

pub use client::{ClientHelloSent, ServerHelloRead};
pub use service::{HelloAnswered, ServerHelloSent};

use super::WireError;
use crate::base::secret::Secret;
use crate::signal::{KeyPair, PublicKey};
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

const XX_NAME: &[u8; 32] = b"Noise_XX_25519_AESGCM_SHA256\0\0\0\0";
const IK_NAME: &[u8; 32] = b"Noise_IK_25519_AESGCM_SHA256\0\0\0\0";
/// Longer than a hash: its hash stands for it.
const FALLBACK_NAME: &[u8] = b"Noise_XXfallback_25519_AESGCM_SHA256";

/// Which pattern a handshake followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Handshake {
    Xx,
    /// The client knew the service's key.
    Ik,
    /// The client knew another key than the service has.
    XxFallback,
}

/// The symmetric state of section 5.2. `ck` and `k` start as the protocol name: WhatsApp's one deviation, harmless because
/// nothing is encrypted before the first `mix_key`.
struct SymmetricState {
    hash: [u8; 32],
    chaining: Secret<32>,
    key: Secret<32>,
    counter: u32,
}

impl SymmetricState {
    fn new(name: &[u8; 32], prologue: &[u8]) -> Self {
        let mut state = Self { hash: *name, chaining: Secret::new(*name), key: Secret::new(*name), counter: 0 };
        state.mix_hash(prologue);
        state
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = Sha256::new().chain_update(self.hash).chain_update(data).finalize().into();
    }

    fn mix_key(&mut self, ours: &KeyPair, theirs: &PublicKey) -> Result<(), WireError> {
        let shared = ours.secret().agree(theirs)?;
        (self.chaining, self.key) = derive_two(&self.chaining, shared.expose());
        self.counter = 0;
        Ok(())
    }

    fn encrypt_and_hash(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, WireError> {
        let sealed = cipher(&self.key)
            .encrypt(&nonce(self.counter), Payload { msg: plaintext, aad: &self.hash })
            .map_err(|_| WireError::Handshake { what: "own payload" })?;
        self.mix_hash(&sealed);
        self.counter += 1;
        Ok(sealed)
    }

    fn decrypt_and_hash(&mut self, sealed: &[u8], what: &'static str) -> Result<Vec<u8>, WireError> {
        let plaintext = cipher(&self.key)
            .decrypt(&nonce(self.counter), Payload { msg: sealed, aad: &self.hash })
            .map_err(|_| WireError::Handshake { what })?;
        self.mix_hash(sealed);
        self.counter += 1;
        Ok(plaintext)
    }

    /// The keys client to service, and service to client.
    fn split(self) -> (TransportKey, TransportKey) {
        let (first, second) = derive_two(&self.chaining, &[]);
        (TransportKey::new(&first), TransportKey::new(&second))
    }
}

fn derive_two(chaining: &Secret<32>, ikm: &[u8]) -> (Secret<32>, Secret<32>) {
    let mut okm = [0; 64];
    let filled = Hkdf::<Sha256>::new(Some(chaining.expose()), ikm).expand(&[], &mut okm);
    debug_assert!(filled.is_ok(), "64 bytes are below hkdf's limit");
    let (mut a, mut b) = ([0; 32], [0; 32]);
    a.copy_from_slice(&okm[..32]);
    b.copy_from_slice(&okm[32..]);
    let keys = (Secret::new(a), Secret::new(b));
    okm.zeroize();
    a.zeroize();
    b.zeroize();
    keys
}

fn cipher(key: &Secret<32>) -> Aes256Gcm {
    Aes256Gcm::new(key.expose().into())
}

fn nonce(counter: u32) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&counter.to_be_bytes());
    nonce.into()
}

/// One direction of the transport: a key and its frame counter, which never wraps.
pub struct TransportKey {
    cipher: Aes256Gcm,
    counter: Option<u32>,
}

impl TransportKey {
    fn new(key: &Secret<32>) -> Self {
        Self { cipher: cipher(key), counter: Some(0) }
    }

    fn next(&mut self) -> Result<u32, WireError> {
        let counter = self.counter.ok_or(WireError::CounterExhausted)?;
        self.counter = counter.checked_add(1);
        Ok(counter)
    }

    pub fn seal(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, WireError> {
        let counter = self.next()?;
        self.cipher
            .encrypt(&nonce(counter), plaintext)
            .map_err(|_| WireError::TooLarge { what: "frame", limit: super::frame::MAX_PAYLOAD })
    }

    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, WireError> {
        let counter = self.next()?;
        self.cipher.decrypt(&nonce(counter), sealed).map_err(|_| WireError::Handshake { what: "transport frame" })
    }
}

/// A finished handshake: the keys of both directions and the transcript hash.
pub struct Transport {
    pub sending: TransportKey,
    pub receiving: TransportKey,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{pair, vector_bytes, vectors};

    #[test]
    fn the_handshake_equals_the_known_answers_byte_for_byte() {
        let v = &vectors()["noise_xx"];
        let chain = &vectors()["cert_chain"]["chain_proto"];
        let with_chain = &v["with_cert_chain (server payload = cert_chain.chain_proto instead of CERTCHAIN)"];
        for (expected, server_payload) in [(v, b"CERTCHAIN".to_vec()), (with_chain, vector_bytes(chain))] {
            let hex_of = |key: &str| expected[key].as_str().unwrap().to_owned();
            let prologue = vector_bytes(&v["prologue"]);
            let (client, hello) = ClientHelloSent::start(&prologue, pair(&v["client_ephemeral_priv"]));
            assert_eq!(hex::encode(&hello), hex_of("client_hello"));

            let server_static = pair(&v["server_static_priv"]);
            let ephemeral = pair(&v["server_ephemeral_priv"]);
            let (answered, answer) =
                ServerHelloSent::answer(&prologue, &hello, &server_static, ephemeral, &server_payload).unwrap();
            let HelloAnswered::Waiting(server) = answered else { panic!("nothing was sent early") };
            assert_eq!(hex::encode(&answer), hex_of("server_hello"));

            let (client, their_static, payload) = client.read_server_hello(&answer).unwrap();
            assert_eq!((&their_static, payload), (server_static.public(), server_payload));
            let client_static = pair(&v["client_static_priv"]);
            let (mut at_client, finish) = client.finish(&client_static, b"CLIENTPAYLOAD").unwrap();
            assert_eq!(hex::encode(&finish), hex_of("client_finish"));

            let (mut at_server, theirs, payload) = server.read_client_finish(&finish).unwrap();
            assert_eq!((&theirs, payload.as_slice()), (client_static.public(), b"CLIENTPAYLOAD".as_slice()));
            for (plain, key) in [
                ([0x00, 0xf8, 0x01], "transport_client_frame0 plaintext 00f801"),
                ([0x00, 0xf8, 0x02], "transport_client_frame1 plaintext 00f802"),
            ] {
                let sealed = at_client.sending.seal(&plain).unwrap();
                assert_eq!(hex::encode(&sealed), hex_of(key));
                assert_eq!(at_server.receiving.open(&sealed).unwrap(), plain);
            }
            let sealed = at_server.sending.seal(&[0x00, 0xf8, 0x03]).unwrap();
            assert_eq!(hex::encode(&sealed), hex_of("transport_server_frame0 plaintext 00f803"));
            assert_eq!(at_client.receiving.open(&sealed).unwrap(), [0x00, 0xf8, 0x03]);
        }
    }

    #[test]
    fn an_altered_answer_is_refused() {
        let v = &vectors()["noise_xx"];
        let prologue = vector_bytes(&v["prologue"]);
        let mut answer = vector_bytes(&v["server_hello"]);
        *answer.last_mut().unwrap() ^= 1;
        let (client, _) = ClientHelloSent::start(&prologue, pair(&v["client_ephemeral_priv"]));
        let result = client.read_server_hello(&answer);
        assert_eq!(result.err(), Some(WireError::Handshake { what: "service's payload" }));
    }

    #[test]
    fn the_last_frame_counter_is_used_once_and_never_wraps() {
        let mut key = TransportKey::new(&Secret::new([1; 32]));
        key.counter = Some(u32::MAX);
        assert!(key.seal(b"last").is_ok());
        assert_eq!(key.seal(b"one more"), Err(WireError::CounterExhausted));
    }
}
