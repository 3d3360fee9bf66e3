//! Problem details (RFC 9457): the one place where errors become answers.

use crate::account::Repeated;
use crate::actors::ActorError;
use crate::base::ids::IdError;
use crate::storage::StorageError;
use crate::webhook::TargetError;
use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde_json::json;
use std::fmt;

/// An answer that says what went wrong, to programs by `code` and to people by `detail`.
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

    /// A field of the request that cannot be used.
    pub fn field(field: &str, why: impl fmt::Display) -> Self {
        Self::new(400, "invalid_field", format!("{field}: {why}"))
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
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.insert_header((RETRY_AFTER, "1"));
        }
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        response.content_type("application/problem+json").body(body.to_string())
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
            ActorError::NoMessage(_) => (404, "message_not_found"),
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

/// For paths and methods that do not exist.
pub(super) async fn no_route(request: HttpRequest) -> HttpResponse {
    Problem::new(404, "not_found", format!("there is no {} {}", request.method(), request.path())).error_response()
}
