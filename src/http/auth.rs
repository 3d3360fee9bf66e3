//! API keys: stored and compared as hashes. For now there is one, the admin's.

use super::State;
use super::problem::Problem;
use crate::actors::{ActorError, Service};
use crate::base::ids::random_hex;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use sha2::{Digest, Sha256};
use std::future::{Ready, ready};
use subtle::ConstantTimeEq;

/// The shortest key that `WHARF_ADMIN_KEY` may be.
const MIN_ADMIN_KEY: usize = 32;
const ADMIN: &str = "admin";

/// The keys that open the interface.
pub struct Keyring {
    admin: [u8; 32],
}

impl Keyring {
    /// Takes the given admin key, or the stored one, or makes one: that is returned, to be shown once.
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

    fn admits(&self, key: &str) -> bool {
        hash(key).ct_eq(&self.admin).into()
    }
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// Proof that the request bears the admin key; holds the key's name.
pub(super) struct Admin(pub(super) &'static str);

impl FromRequest for Admin {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let key = bearer.or_else(|| header("x-api-key"));
        let state = request.app_data::<web::Data<State>>();
        ready(match (key, state) {
            (None, _) => Err(Problem::new(401, "no_key", "send an API key: Authorization: Bearer KEY, or X-Api-Key")),
            (Some(key), Some(state)) if state.keys.admits(key.trim()) => Ok(Self(ADMIN)),
            _ => Err(Problem::new(401, "wrong_key", "the API key is not known")),
        })
    }
}
