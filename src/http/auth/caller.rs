//! The caller of a request, proven by an API key.

use crate::http::auth::keyring::ADMIN;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use std::future::{Ready, ready};

/// Proof that the request bears a valid API key.
#[derive(Clone, Copy)]
pub(in crate::http) struct Caller {
    /// The name of the key: the scope of an `Idempotency-Key`.
    pub(in crate::http) key: &'static str,
}

impl Caller {
    /// The guard of `/v1` keeps the proof with the request; what lies outside is proven here.
    pub(in crate::http) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        if let Some(proven) = request.extensions().get::<Self>() {
            return Ok(*proven);
        }
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let key = bearer.or_else(|| header("x-api-key"));
        let state = request.app_data::<web::Data<State>>();
        match (key, state) {
            (None, _) => Err(Problem::new(401, "no_key", "send an API key: Authorization: Bearer KEY, or X-Api-Key")),
            (Some(key), Some(state)) if state.keys.admits(key.trim()) => Ok(Self { key: ADMIN }),
            _ => Err(Problem::new(401, "wrong_key", "the API key is not known")),
        }
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}
