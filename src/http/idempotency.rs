//! `Idempotency-Key`: the same request gives the same answer. For messages the account stores it with the message itself;
//! here are the fingerprints, and the requests that name no account.

use super::auth::Admin;
use super::problem::Problem;
use crate::actors::{IdempotentAnswer, Service};
use crate::base::ids::RequestFingerprint;
use crate::base::time::Timestamp;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const MAX_KEY: usize = 255;

/// The fingerprint of (API key, path, Idempotency-Key), and that of the body; `None` without the header.
pub(super) fn fingerprint(
    request: &HttpRequest,
    admin: &Admin,
    body: &[u8],
) -> Result<Option<RequestFingerprint>, Problem> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY);
    let key = key.ok_or_else(|| Problem::field("Idempotency-Key", "must be 1 to 255 visible characters"))?;
    let scope = [admin.0, request.method().as_str(), request.path(), key].join("\0");
    Ok(Some(RequestFingerprint { request: Sha256::digest(scope).into(), body: Sha256::digest(body).into() }))
}

#[derive(Serialize, Deserialize)]
struct Stored {
    body: String,
    status: u16,
    answer: String,
}

/// A request that makes something, once.
pub(super) struct Creation {
    fingerprint: Option<RequestFingerprint>,
    now: Timestamp,
}

impl Creation {
    /// Begins it, or gives the answer that was given before to the same request.
    pub(super) fn begin(
        service: &Service,
        request: &HttpRequest,
        admin: &Admin,
        body: &[u8],
    ) -> Result<Result<Self, HttpResponse>, Problem> {
        let fingerprint = fingerprint(request, admin, body)?;
        Ok(match repeated(service, fingerprint)? {
            Some(answer) => Err(answer),
            None => Ok(Self { fingerprint, now: service.clock().now() }),
        })
    }

    /// The answer for a repetition, to be committed with what was made.
    pub(super) fn remember(self, answer: String) -> Option<IdempotentAnswer> {
        let fingerprint = self.fingerprint?;
        let stored = Stored { body: hex::encode(fingerprint.body), status: 201, answer };
        let json = serde_json::to_vec(&stored).ok()?;
        Some(IdempotentAnswer { request: fingerprint.request, answer: json, at: self.now })
    }
}

/// The answer given before to this request, if there is one.
fn repeated(service: &Service, fingerprint: Option<RequestFingerprint>) -> Result<Option<HttpResponse>, Problem> {
    let Some(fingerprint) = fingerprint else { return Ok(None) };
    let Some(bytes) = service.idempotent(&fingerprint.request)? else { return Ok(None) };
    let stored: Stored = serde_json::from_slice(&bytes)
        .map_err(|_| Problem::new(500, "internal", "the stored answer cannot be read"))?;
    if stored.body != hex::encode(fingerprint.body) {
        let detail = "this Idempotency-Key was used before with another body; use a new key";
        return Err(Problem::new(422, "idempotency_mismatch", detail));
    }
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    Ok(Some(HttpResponse::build(status).content_type("application/json").body(stored.answer)))
}

/// 201 with this answer.
pub(super) fn created(answer: String) -> HttpResponse {
    HttpResponse::Created().content_type("application/json").body(answer)
}
