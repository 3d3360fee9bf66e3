//! `Idempotency-Key`: the same request gives the same answer. For messages the account stores it with the message itself;
//! here are the fingerprints, and the requests that name no account.

use crate::actors::{Remembered, Service};
use crate::base::ids::Fingerprint;
use crate::base::time::Timestamp;
use crate::http::auth::caller::Admin;
use crate::http::problem::Problem;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const MAX_KEY: usize = 255;

/// The fingerprint of (API key, path, Idempotency-Key), and that of the body; `None` without the header.
pub(in crate::http) fn fingerprint(
    request: &HttpRequest,
    admin: &Admin,
    body: &[u8],
) -> Result<Option<Fingerprint>, Problem> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY);
    let key = key.ok_or_else(|| Problem::field("Idempotency-Key", "must be 1 to 255 visible characters"))?;
    let scope = [admin.0, request.method().as_str(), request.path(), key].join("\0");
    Ok(Some(Fingerprint { request: Sha256::digest(scope).into(), body: Sha256::digest(body).into() }))
}

#[derive(Serialize, Deserialize)]
struct Stored {
    body: String,
    status: u16,
    answer: String,
}

/// A request that makes something, once.
pub(in crate::http) struct Creation {
    fingerprint: Option<Fingerprint>,
    now: Timestamp,
}

impl Creation {
    /// Begins it, or gives the answer that was given before to the same request.
    pub(in crate::http) fn begin(
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
    pub(in crate::http) fn remember(self, answer: String) -> Option<Remembered> {
        let fingerprint = self.fingerprint?;
        let stored = Stored { body: hex::encode(fingerprint.body), status: 201, answer };
        let json = serde_json::to_vec(&stored).ok()?;
        Some(Remembered { request: fingerprint.request, answer: json, at: self.now })
    }
}

/// The answer given before to this request, if there is one.
fn repeated(service: &Service, fingerprint: Option<Fingerprint>) -> Result<Option<HttpResponse>, Problem> {
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
pub(in crate::http) fn created(answer: String) -> HttpResponse {
    HttpResponse::Created().content_type("application/json").body(answer)
}
