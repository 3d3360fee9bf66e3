//! The body of a request: bytes of bounded length that arrive within a bounded time, read once and shared by the extractors that need them.

use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::rt::time::timeout;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use std::time::Duration;

/// The largest body, in bytes.
pub(in crate::http) const MAX_BODY: usize = 1024 * 1024;

type Reading = Shared<LocalBoxFuture<'static, Result<web::Bytes, Problem>>>;

struct Begun(Reading);

/// Reads the body; a second extractor of the same request gets the same bytes.
pub(super) fn read(request: &HttpRequest, payload: &mut Payload) -> Reading {
    if let Some(Begun(reading)) = request.extensions().get() {
        return reading.clone();
    }
    let bytes = web::Bytes::from_request(request, payload);
    let limit = request.app_data::<web::Data<State>>().map_or(Duration::ZERO, |state| state.limits.body);
    let reading = async move {
        let slow = |_| Problem::new(408, "body_too_slow", format!("the body must arrive within {} s", limit.as_secs()));
        timeout(limit, bytes).await.map_err(slow)?.map_err(|error| match error.as_error::<PayloadError>() {
            Some(PayloadError::Overflow) => {
                Problem::new(413, "body_too_large", format!("the body must be {MAX_BODY} bytes or smaller"))
            }
            _ => Problem::new(400, "invalid_body", "the body could not be read"),
        })
    };
    let reading = reading.boxed_local().shared();
    request.extensions_mut().insert(Begun(reading.clone()));
    reading
}

/// A body that is passed on unparsed.
pub(in crate::http) struct Body(pub(in crate::http) web::Bytes);

impl FromRequest for Body {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        read(request, payload).map(|bytes| bytes.map(Self)).boxed_local()
    }
}
