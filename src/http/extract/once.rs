//! `Idempotency-Key`: a repeated request gets the answer of the first. The account stores the answer to a message with the message, a
//! creation is stored with what it creates, and the answers to other requests behind their work.

use crate::actors::{IdempotentAnswer, Service};
use crate::base::ids::RequestFingerprint;
use crate::base::time::Timestamp;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::body;
use crate::http::extract::claims::Claim;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, rt, web};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

const MAX_KEY: usize = 255;

/// The `Idempotency-Key` of a request. While it is held, a repetition waits.
pub(in crate::http) struct Once {
    key: Key,
    claim: Option<Claim>,
}

/// The fingerprint of (API key, route, its parts, key) and that of the body; `None` without the header.
#[derive(Clone, Copy)]
pub(in crate::http) struct Key(Option<RequestFingerprint>);

impl FromRequest for Once {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let scope = match scope(request) {
            Ok(Some(scope)) => scope,
            other => return async move { other.map(|_| Self { key: Key(None), claim: None }) }.boxed_local(),
        };
        let body = body::read(request, payload);
        let claims = request.app_data::<web::Data<State>>().map(|state| state.claims.clone()).unwrap_or_default();
        async move {
            let body = Sha256::digest(body.await?).into();
            let fingerprint = RequestFingerprint { request: Sha256::digest(scope).into(), body };
            Ok(Self { key: Key(Some(fingerprint)), claim: Some(claims.claim(fingerprint.request).await?) })
        }
        .boxed_local()
    }
}

/// What a key is unique in. A path can be spelled in several ways; the route and its parts cannot.
fn scope(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY);
    let key = key.ok_or_else(|| Problem::field("Idempotency-Key", "must be 1 to 255 visible characters"))?;
    let caller = Caller::of(request)?;
    let route = request.match_pattern().unwrap_or_default();
    let head = [caller.key, request.method().as_str(), &route];
    let parts = request.match_info().iter().map(|(_, value)| value);
    Ok(Some(head.into_iter().chain(parts).chain([key]).collect::<Vec<_>>().join("\0")))
}

#[derive(Serialize, Deserialize)]
struct Stored {
    body: String,
    status: u16,
    answer: String,
}

impl Once {
    pub(in crate::http) const fn fingerprint(&self) -> Option<RequestFingerprint> {
        self.key.0
    }

    pub(in crate::http) const fn key(&self) -> Key {
        self.key
    }

    /// Does the work and stores its answer, unless it has been done: its answer is then given again.
    pub(in crate::http) async fn run<T: Serialize + 'static>(
        self,
        state: &web::Data<State>,
        work: impl Future<Output = Result<Answer<T>, Problem>> + 'static,
    ) -> Result<Answer<T>, Problem> {
        let (key, service) = (self.key, state.service.clone());
        let stored = async move {
            let answer = work.await?;
            if let Some(stored) = answer.value().and_then(|value| key.stored(answer.status(), value, service.now())) {
                service.put_idempotent(stored).await?;
            }
            Ok(answer)
        };
        self.create(state, stored).await
    }

    /// Does work that stores its own answer, unless it has been done. With a key it goes on when the client leaves: what comes after it
    /// under the same key waits for its end.
    pub(in crate::http) async fn create<T: 'static>(
        self,
        state: &web::Data<State>,
        work: impl Future<Output = Result<Answer<T>, Problem>> + 'static,
    ) -> Result<Answer<T>, Problem> {
        let Self { key, claim: Some(claim) } = self else { return work.await };
        let service = state.service.clone();
        let whole = async move {
            let _claim = claim;
            match key.repeated(&service)? {
                Some(answer) => Ok(answer),
                None => work.await,
            }
        };
        rt::spawn(whole).await.map_err(|_| Problem::new(500, "internal", "the request did not come to its end"))?
    }
}

impl Key {
    /// The answer to the first request with this key, if there was one.
    fn repeated<T>(self, service: &Service) -> Result<Option<Answer<T>>, Problem> {
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
    pub(in crate::http) fn created(self, answer: &impl Serialize, now: Timestamp) -> Option<IdempotentAnswer> {
        self.stored(StatusCode::CREATED, answer, now)
    }

    fn stored(self, status: StatusCode, answer: &impl Serialize, now: Timestamp) -> Option<IdempotentAnswer> {
        let fingerprint = self.0?;
        let answer = serde_json::to_string(answer).ok()?;
        let stored = Stored { body: hex::encode(fingerprint.body), status: status.as_u16(), answer };
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
