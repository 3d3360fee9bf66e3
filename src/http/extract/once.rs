//! `Idempotency-Key`: a repeated request gets the answer of the first. The account stores the answer to a message with the message;
//! answers to requests that name no account are stored here.

use crate::actors::{IdempotentAnswer, Service};
use crate::base::ids::RequestFingerprint;
use crate::base::time::Timestamp;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::body;
use crate::http::problem::Problem;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

const MAX_KEY: usize = 255;

/// The `Idempotency-Key` of a request: the fingerprint of (API key, path, key) and that of the body; `None` without the header.
pub(in crate::http) struct Once(Option<RequestFingerprint>);

impl FromRequest for Once {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let scope = match scope(request) {
            Ok(Some(scope)) => scope,
            other => return async move { other.map(|_| Self(None)) }.boxed_local(),
        };
        let body = body::read(request, payload);
        let fingerprint =
            |body| RequestFingerprint { request: Sha256::digest(scope).into(), body: Sha256::digest(body).into() };
        async move { Ok(Self(Some(fingerprint(body.await?)))) }.boxed_local()
    }
}

fn scope(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY);
    let key = key.ok_or_else(|| Problem::field("Idempotency-Key", "must be 1 to 255 visible characters"))?;
    let caller = Caller::of(request)?;
    Ok(Some([caller.key, request.method().as_str(), request.path(), key].join("\0")))
}

#[derive(Serialize, Deserialize)]
struct Stored {
    body: String,
    status: u16,
    answer: String,
}

impl Once {
    pub(in crate::http) const fn fingerprint(&self) -> Option<RequestFingerprint> {
        self.0
    }

    /// The answer to the first request with this key, if there was one.
    pub(in crate::http) fn repeated<T>(&self, service: &Service) -> Result<Option<Answer<T>>, Problem> {
        let Some(fingerprint) = self.0 else { return Ok(None) };
        let Some(bytes) = service.idempotent(&fingerprint.request)? else { return Ok(None) };
        let stored: Stored = serde_json::from_slice(&bytes)
            .map_err(|_| Problem::new(500, "internal", "the stored answer cannot be read"))?;
        if stored.body != hex::encode(fingerprint.body) {
            let detail = "this Idempotency-Key was used before with another body; use a new key";
            return Err(Problem::new(422, "idempotency_mismatch", detail));
        }
        let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
        Ok(Some(Answer::repeated(status, stored.answer)))
    }

    /// The 201 for a repetition, to be committed together with the created record.
    pub(in crate::http) fn created(&self, answer: &impl Serialize, now: Timestamp) -> Option<IdempotentAnswer> {
        let fingerprint = self.0?;
        let answer = serde_json::to_string(answer).ok()?;
        let stored = Stored { body: hex::encode(fingerprint.body), status: 201, answer };
        let json = serde_json::to_vec(&stored).ok()?;
        Some(IdempotentAnswer { request: fingerprint.request, answer: json, at: now })
    }
}

/// How the document shows [`Once`].
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "read by the derive alone")]
pub(in crate::http) struct OnceHeader {
    /// Makes a repetition safe: within a day the same request gets the same answer and has no further effect.
    #[param(rename = "Idempotency-Key", value_type = String, required = false, min_length = 1, max_length = 255)]
    idempotency_key: Option<String>,
}
