//! Answers: a status, and a body that is a struct.

use super::problem::Problem;
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, Responder, ResponseError};
use serde::Serialize;

/// A status with a JSON body.
pub(super) struct Answer<T> {
    status: StatusCode,
    body: Body<T>,
}

enum Body<T> {
    Value(T),
    /// JSON that was stored with an `Idempotency-Key`.
    Stored(String),
}

impl<T> Answer<T> {
    const fn new(status: StatusCode, body: T) -> Self {
        Self { status, body: Body::Value(body) }
    }

    pub(super) const fn ok(body: T) -> Self {
        Self::new(StatusCode::OK, body)
    }

    pub(super) const fn created(body: T) -> Self {
        Self::new(StatusCode::CREATED, body)
    }

    /// The request goes on after the answer.
    pub(super) const fn accepted(body: T) -> Self {
        Self::new(StatusCode::ACCEPTED, body)
    }

    /// The answer that was given to the first request with this `Idempotency-Key`.
    pub(super) const fn repeated(status: StatusCode, json: String) -> Self {
        Self { status, body: Body::Stored(json) }
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The body, unless it is a stored one.
    pub(super) const fn value(&self) -> Option<&T> {
        match &self.body {
            Body::Value(value) => Some(value),
            Body::Stored(_) => None,
        }
    }
}

impl<T: Serialize> Responder for Answer<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.status);
        let json = match self.body {
            Body::Value(value) => serde_json::to_string(&value),
            Body::Stored(json) => Ok(json),
        };
        match json {
            Ok(json) => response.content_type("application/json").body(json),
            Err(error) => Problem::new(500, "internal", error.to_string()).error_response(),
        }
    }
}
