//! The OpenAPI document, collected from the routes.

use super::problem::ProblemBody;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, get, web};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, OpenApi as Document, RefOr};
use utoipa::{Modify, OpenApi, ToSchema};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Wharf",
        description = "A multi-account WhatsApp bot server. Unofficial: not made, approved or supported by WhatsApp or Meta.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemBody)),
    modifiers(&Key)
)]
struct Base;

/// The API key.
struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API key.")).build();
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}

/// The document without its paths.
pub(super) fn base() -> Document {
    Base::openapi()
}

/// Bytes in an answer.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "a schema alone")]
pub(super) struct Binary(Vec<u8>);

/// The routes of the server as the document lists them.
pub(super) struct Routes {
    json: String,
}

impl Routes {
    pub(super) fn new(mut document: Document) -> Self {
        for item in document.paths.paths.values_mut() {
            operations(item).into_iter().for_each(complete);
        }
        Self { json: document.to_pretty_json().unwrap_or_default() }
    }
}

fn operations(item: &mut PathItem) -> Vec<&mut Operation> {
    let all = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.options, &mut item.patch];
    all.into_iter().filter_map(Option::as_mut).collect()
}

/// Completes what the collected operation lacks. Operations are named after their handlers, and the tag makes the names unique;
/// generators of clients demand a description of every answer.
fn complete(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let reason = StatusCode::from_bytes(status.as_bytes()).ok().and_then(|status| status.canonical_reason());
        if let (RefOr::T(response), Some(reason)) = (response, reason)
            && response.description.is_empty()
        {
            reason.clone_into(&mut response.description);
        }
    }
    if let (Some(tag), Some(name)) = (operation.tags.as_ref().and_then(|tags| tags.first()), &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{name}"));
    }
}

/// This document.
#[utoipa::path(tag = "operations", responses((status = 200, body = Object)))]
#[get("/openapi.json")]
pub(super) async fn describe(routes: web::Data<Routes>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(routes.json.clone())
}
