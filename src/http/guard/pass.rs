//! The outermost step: HEAD, the connection's limit, headers of answers.

use super::connections::Connection;
use super::unread::{Holding, Unread};
use crate::http::problem::Problem;
use actix_web::Error;
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::http::{ConnectionType, Method};
use actix_web::middleware::Next;

pub(in crate::http) async fn pass<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    // The server leaves out the body of an answer to HEAD.
    if request.method() == Method::HEAD {
        request.head_mut().method = Method::GET;
    }
    let unread = Unread::of(&mut request);
    let mut response = if request.conn_data::<Connection>().is_some_and(|connection| connection.is_beyond) {
        let detail = "this address has too many connections; use fewer, and keep them alive";
        let mut response = request.error_response(Problem::new(429, "too_many_connections", detail));
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        response.map_into_right_body()
    } else {
        next.call(request).await?.map_into_left_body()
    };
    let headers = response.headers_mut();
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(match unread {
        None => response,
        Some(request) => response.map_body(|_, answer| {
            EitherBody::right(BoxBody::new(Holding { answer: answer.boxed(), _request: request }))
        }),
    })
}
