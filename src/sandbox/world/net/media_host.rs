//! Ciphertexts on the media host, by token (`sandbox-service.md` 10).

use crate::sandbox::world::error::WorldError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of all ciphertexts together.
const CAPACITY: usize = 1 << 30;
const FOLDER: &str = "/v/t62.7118-24/";

#[derive(Default)]
pub(in crate::sandbox::world) struct MediaHost {
    /// `host:port`; without it clients are told of no media host.
    address: Option<String>,
    bodies: HashMap<String, Arc<Vec<u8>>>,
    size: usize,
}

impl MediaHost {
    pub(in crate::sandbox::world) fn set_address(&mut self, address: String) {
        self.address = Some(address);
    }

    pub(in crate::sandbox::world) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    pub(in crate::sandbox::world) fn url(&self, path: &str) -> Option<String> {
        Some(format!("https://{}{path}", self.address()?))
    }

    /// Stores a ciphertext: returns its token, and whether it is new.
    pub(in crate::sandbox::world) fn store(&mut self, body: Vec<u8>) -> Result<(String, bool), WorldError> {
        let token = URL_SAFE_NO_PAD.encode(Sha256::digest(&body));
        if self.bodies.contains_key(&token) {
            return Ok((token, false));
        }
        if self.size + body.len() > CAPACITY {
            return Err(WorldError::MediaFull);
        }
        self.insert(token.clone(), body);
        Ok((token, true))
    }

    pub(in crate::sandbox::world) fn insert(&mut self, token: String, body: Vec<u8>) {
        self.size += body.len();
        self.bodies.insert(token, Arc::new(body));
    }

    pub(in crate::sandbox::world) fn body(&self, token: &str) -> Option<&Arc<Vec<u8>>> {
        self.bodies.get(token)
    }
}

/// The path of a token's ciphertext.
pub(in crate::sandbox::world) fn path(token: &str) -> String {
    format!("{FOLDER}{token}")
}

/// The token in a path of the media host.
pub(in crate::sandbox::world) fn token(path: &str) -> Option<&str> {
    path.strip_prefix(FOLDER)
}
