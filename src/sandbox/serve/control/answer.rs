//! Answers of the control API: bodies, errors as `application/problem+json`, requests to the world.

use crate::base::time::Timestamp;
use crate::sandbox::serve::host::WorldHost;
use crate::sandbox::world::{World, WorldError};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

pub(super) type Answer = Result<HttpResponse, Problem>;

/// A list, in one page.
#[derive(Serialize)]
pub(super) struct Page<T> {
    data: Vec<T>,
    next: Option<String>,
}

#[derive(Debug)]
pub(super) struct Problem {
    status: u16,
    code: &'static str,
    detail: String,
}

/// RFC 9457.
#[derive(Serialize)]
struct ProblemBody<'p> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: Option<&'static str>,
    status: u16,
    detail: &'p str,
    code: &'static str,
}

impl Problem {
    pub(super) fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    pub(super) fn body(detail: impl fmt::Display) -> Self {
        Self::new(400, "invalid_body", format!("the body: {detail}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let title = status.canonical_reason();
        let Self { status: number, code, detail } = self;
        let body = ProblemBody { kind: "about:blank", title, status: *number, detail, code };
        HttpResponse::build(status).insert_header(("content-type", "application/problem+json")).json(body)
    }
}

impl From<WorldError> for Problem {
    fn from(error: WorldError) -> Self {
        let (status, code) = match &error {
            WorldError::NoPhone(_) => (404, "phone_not_found"),
            WorldError::NoRecipient(_) => (404, "recipient_not_found"),
            WorldError::BadNumber(_) => (400, "invalid_field"),
            WorldError::BadQr(_) => (400, "invalid_qr"),
            WorldError::UnknownQr | WorldError::ForeignQr => (409, "qr_not_shown"),
            WorldError::NoDevices => (409, "no_devices"),
            WorldError::NoCodeRequest(_) => (409, "code_not_shown"),
            WorldError::BadCode(_) => (400, "invalid_code"),
            WorldError::NoCompanion(..) => (404, "companion_not_found"),
            WorldError::TooManyCompanions(_) => (409, "too_many_companions"),
            WorldError::NoGroup(_) => (404, "group_not_found"),
            WorldError::Refused(_) => (403, "refused"),
            WorldError::NotChanged(..) => (409, "participant_not_changed"),
            WorldError::NoMediaHost => (409, "no_media_host"),
            WorldError::MediaFull => (507, "media_full"),
            WorldError::Unreadable(_) => (500, "unreadable"),
        };
        Self::new(status, code, error.to_string())
    }
}

/// Runs a request on the world; it fails when the sandbox is stopping.
pub(super) async fn ask<R: Send + 'static>(
    host: &WorldHost,
    ask: impl FnOnce(&mut World) -> R + Send + 'static,
) -> Result<R, Problem> {
    let stopped = || Problem::new(503, "sandbox_stopped", "the sandbox is shutting down");
    host.with(ask).await.ok_or_else(stopped)
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(Problem::body)
}

pub(super) fn page<T: Serialize>(data: Vec<T>) -> Answer {
    Ok(HttpResponse::Ok().json(Page { data, next: None }))
}

/// A time in RFC 3339, or none.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let at = Timestamp::parse(&text);
    at.map(Some).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no RFC 3339 time")))
}
