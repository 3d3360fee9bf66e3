//! API keys: stored and compared as hashes. For now there is one, the admin's.

use crate::actors::{ActorError, Service};
use crate::base::ids::random_hex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The shortest key that `WHARF_ADMIN_KEY` may be.
const MIN_ADMIN_KEY: usize = 32;

pub(in crate::http) const ADMIN: &str = "admin";

/// The keys that the interface accepts.
pub struct Keyring {
    admin: [u8; 32],
}

impl Keyring {
    /// Opens the given admin key, else the stored one. Without either a key is generated, and returned to be shown once.
    pub async fn open(service: &Service, given: Option<String>) -> Result<(Self, Option<String>), ActorError> {
        if let Some(given) = given {
            if given.len() < MIN_ADMIN_KEY {
                let why = format!("must have {MIN_ADMIN_KEY} characters or more");
                return Err(ActorError::BadField { field: "WHARF_ADMIN_KEY", why });
            }
            return Ok((Self { admin: hash(&given) }, None));
        }
        if let Some(stored) = service.server_value(ADMIN)?.and_then(|bytes| bytes.try_into().ok()) {
            return Ok((Self { admin: stored }, None));
        }
        let mut rng = service.entropy().fork();
        let key = format!("wharf_{}_{}", random_hex::<4>(&mut rng), random_hex::<32>(&mut rng));
        let admin = hash(&key);
        service.put_server_value(ADMIN, admin.to_vec()).await?;
        Ok((Self { admin }, Some(key)))
    }

    pub(in crate::http) fn admits(&self, key: &str) -> bool {
        hash(key).ct_eq(&self.admin).into()
    }
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_alone_is_admitted_and_none_of_a_thousand_others() {
        let keys = Keyring { admin: hash("the key") };
        assert!(keys.admits("the key"));
        assert!(["", "the ke", "the key "].iter().all(|other| !keys.admits(other)));
        assert!((0..1000).all(|number| !keys.admits(&format!("the key {number}"))));
    }
}
