//! JSON bodies, read strictly: unknown fields are errors that name the field.

use crate::http::problem::Problem;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;
use std::future::Future;
use std::pin::Pin;

/// The largest JSON body, in bytes.
pub(in crate::http) const MAX_BODY: usize = 1024 * 1024;

/// The bytes of a request's body, of bounded length.
pub(in crate::http) struct Body(pub(in crate::http) web::Bytes);

impl FromRequest for Body {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let bytes = web::Bytes::from_request(request, payload);
        Box::pin(async move {
            bytes.await.map(Self).map_err(|error| match error.as_error::<PayloadError>() {
                Some(PayloadError::Overflow) => {
                    Problem::new(413, "body_too_large", format!("the body must be {MAX_BODY} bytes or smaller"))
                }
                _ => Problem::new(400, "invalid_body", "the body could not be read"),
            })
        })
    }
}

/// Reads a body; an empty one counts as `{}`.
pub(in crate::http) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Problem::new(400, "invalid_body", format!("the body: {error}")))
}
