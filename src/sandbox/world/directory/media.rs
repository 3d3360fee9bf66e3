//! The media host, as clients and phones use it (`sandbox-service.md` 10).

use crate::sandbox::world::error::WorldError;
use crate::sandbox::world::net::media_host;
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::wire::Node;
use std::sync::Arc;

impl World {
    /// Sets the address that clients are told for media, as `host:port`; without it there is no media host.
    pub fn set_media_host(&mut self, address: String) {
        self.media.set_address(address);
    }

    /// Stores a ciphertext; returns its path.
    pub fn store_media(&mut self, body: Vec<u8>) -> Result<String, WorldError> {
        let (token, is_new) = self.media.store(body)?;
        if is_new {
            self.touch(|| Row::Media(token.clone()));
        }
        Ok(media_host::path(&token))
    }

    /// The ciphertext at a path.
    pub fn fetch_media(&self, path: &str) -> Option<Arc<Vec<u8>>> {
        self.media.body(media_host::token(path)?).cloned()
    }

    pub(in crate::sandbox::world) fn media_connection(&self) -> Option<Node> {
        let host = Node::new("host").attr("hostname", self.media.address()?.to_owned()).attr("type", "primary");
        let connection = Node::new("media_conn").attr("auth", "sandbox").attr("ttl", "3600");
        Some(connection.attr("auth_ttl", "3600").attr("max_buckets", "12").child(host))
    }
}
