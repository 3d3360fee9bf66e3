//! Problem details (RFC 9457): the one place where an error becomes an answer.

use crate::account::Repeated;
use crate::actors::ActorError;
use crate::base::ids::IdError;
use crate::storage::StorageError;
use crate::webhook::TargetError;
use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

const PROBLEM_JSON: &str = "application/problem+json";

/// An error answer: `code` is for programs, `detail` for people.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl Problem {
    pub fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, detail: detail.into() }
    }

    /// A malformed or unusable field of the request.
    pub fn field(field: &str, why: impl fmt::Display) -> Self {
        Self::new(400, "invalid_field", format!("{field}: {why}"))
    }
}

/// Problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// The reason, for programs.
    #[schema(example = "account_not_found")]
    code: &'a str,
    /// The reason, for people.
    detail: &'a str,
    status: u16,
    title: Option<&'a str>,
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'a str,
}

/// The problems that every operation can answer with.
pub(super) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let problem = |description| {
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build().into()
        };
        let client = ("4XX".to_owned(), problem("The request cannot be carried out as it is."));
        let server = ("5XX".to_owned(), problem("The server cannot carry the request out now."));
        BTreeMap::from([client, server])
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        let is_for_now = matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if is_for_now || self.code == "in_progress" {
            response.insert_header((RETRY_AFTER, "1"));
        }
        let body = ProblemBody {
            code: self.code,
            detail: &self.detail,
            status: self.status.as_u16(),
            title: self.status.canonical_reason(),
            kind: "about:blank",
        };
        response.content_type(PROBLEM_JSON).body(serde_json::to_string(&body).unwrap_or_default())
    }
}

impl From<IdError> for Problem {
    fn from(error: IdError) -> Self {
        Self::new(400, "invalid_field", error.to_string())
    }
}

impl From<ActorError> for Problem {
    fn from(error: ActorError) -> Self {
        let (status, code) = match &error {
            ActorError::NoAccount(_) => (404, "account_not_found"),
            ActorError::NoWebhook(_) => (404, "webhook_not_found"),
            ActorError::AccountExists(_) => (409, "account_exists"),
            ActorError::Refused { status, code, .. } => (*status, *code),
            ActorError::Repeated(Repeated::OtherBody) => (422, "idempotency_mismatch"),
            ActorError::Repeated(Repeated::UnderWay) => (409, "in_progress"),
            ActorError::Repeated(Repeated::OutcomeUnknown) => (409, "outcome_unknown"),
            ActorError::Quarantined(_) => (409, "quarantined"),
            ActorError::Restarting => (503, "account_restarting"),
            ActorError::Busy => (429, "busy"),
            ActorError::NoSpace { .. } => (507, "no_space"),
            ActorError::BadCursor => (410, "cursor_expired"),
            ActorError::BadField { .. } => (400, "invalid_field"),
            ActorError::Target(TargetError::Private) => (400, "private_target"),
            ActorError::Target(TargetError::BadUrl) => (400, "invalid_field"),
            ActorError::ShuttingDown => (503, "shutting_down"),
            ActorError::Storage(StorageError::Stopped) => (503, "storage_stopped"),
            ActorError::Storage(_) | ActorError::Account(_) | ActorError::Network(_) => {
                tracing::error!(%error, "a request failed");
                return Self::new(500, "internal", "the server could not do this; its log says why");
            }
        };
        Self::new(status, code, error.to_string())
    }
}
