//! The participant hash: a short digest of the devices a message was sent to (`wire-protocol.md` 1.12).

use super::jid::Jid;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sha2::{Digest, Sha256};

/// `2:` and the first six bytes of the SHA-256 over the sorted device texts `user.0:device@server`, in base64.
pub fn participant_hash<'a>(devices: impl IntoIterator<Item = &'a Jid>) -> String {
    let mut texts: Vec<String> =
        devices.into_iter().map(|jid| format!("{}.0:{}@{}", jid.user(), jid.device(), jid.server().as_str())).collect();
    texts.sort_unstable();
    let digest = Sha256::digest(texts.concat());
    format!("2:{}", STANDARD_NO_PAD.encode(&digest[..6]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::vectors;

    #[test]
    fn hashes_equal_the_known_answers() {
        for case in vectors()["phash"].as_array().unwrap() {
            let devices: Vec<Jid> = case["devices"]
                .as_array()
                .unwrap()
                .iter()
                .map(|text| Jid::parse(&text.as_str().unwrap().replace(".0:", ":")).unwrap())
                .collect();
            assert_eq!(participant_hash(&devices), case["phash"].as_str().unwrap());
        }
    }
}
