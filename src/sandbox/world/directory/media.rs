//! What lies on the media host: ciphertexts by their token (`sandbox-service.md` 10).

use crate::sandbox::world::persistence::rows::Row;
use crate::sandbox::world::{World, WorldError};
use crate::wire::Node;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// All that lies there together.
const MAX_MEDIA: usize = 1 << 30;
const FOLDER: &str = "/v/t62.7118-24/";

impl World {
    /// Where clients are sent for media, as `host:port`; without it there is no media host.
    pub fn set_media_host(&mut self, host: String) {
        self.media_host = Some(host);
    }

    /// Keeps a ciphertext; returns the path it is fetched by.
    pub fn store_media(&mut self, body: Vec<u8>) -> Result<String, WorldError> {
        let token = URL_SAFE_NO_PAD.encode(Sha256::digest(&body));
        if !self.media.contains_key(&token) {
            if self.media_size + body.len() > MAX_MEDIA {
                return Err(WorldError::MediaFull);
            }
            self.media_size += body.len();
            self.media.insert(token.clone(), Arc::new(body));
            self.touch(|| Row::Media(token.clone()));
        }
        Ok(format!("{FOLDER}{token}"))
    }

    /// What lies at a path.
    pub fn fetch_media(&self, path: &str) -> Option<Arc<Vec<u8>>> {
        self.media.get(path.strip_prefix(FOLDER)?).cloned()
    }

    pub(in crate::sandbox::world) fn media_connection(&self) -> Option<Node> {
        let host = Node::new("host").attr("hostname", self.media_host.clone()?).attr("type", "primary");
        let connection = Node::new("media_conn").attr("auth", "sandbox").attr("ttl", "3600");
        Some(connection.attr("auth_ttl", "3600").attr("max_buckets", "12").child(host))
    }
}
