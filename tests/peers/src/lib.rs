//! Wharf's peers: tests that hold Wharf against other implementations. They are oracles, never dependencies of Wharf.

use sha2::{Digest, Sha256};

/// SHA-256 in hex, as the clients of the matrix report what they have downloaded.
pub fn sha256_hex(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}
