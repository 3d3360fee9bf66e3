//! The body of a request that its answer did not wait for. The server drains a chunked body without end once nobody reads it; while it
//! is held, the connection closes behind the answer instead.

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::Stream;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A body with two holders: whoever reads it, and the answer.
#[derive(Clone)]
pub(super) struct Unread(Rc<RefCell<Payload>>);

/// An answer that holds the request's body until it is sent.
pub(super) struct Holding {
    pub(super) answer: BoxBody,
    pub(super) _request: Unread,
}

impl Unread {
    /// The body of a chunked request. One of a known length is never drained.
    pub(super) fn of(request: &mut ServiceRequest) -> Option<Self> {
        request.headers().contains_key("transfer-encoding").then(|| {
            let body = Self(Rc::new(RefCell::new(request.take_payload())));
            request.set_payload(Payload::Stream { payload: Box::pin(body.clone()) });
            body
        })
    }
}

impl Stream for Unread {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(cx)
    }
}

impl MessageBody for Holding {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.answer).poll_next(cx)
    }
}
