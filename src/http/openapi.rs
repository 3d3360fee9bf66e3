//! The OpenAPI document, collected from the routes, and what it says about a path.

use super::problem::ProblemBody;
use actix_web::dev::ResourceDef;
use actix_web::http::{Method, StatusCode};
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
    paths: Vec<(ResourceDef, Vec<Method>)>,
}

impl Routes {
    pub(super) fn new(mut document: Document) -> Self {
        let mut paths = Vec::new();
        for (path, item) in &mut document.paths.paths {
            let operations = operations(item);
            let methods = operations.iter().map(|(method, _)| method.clone()).collect();
            paths.push((ResourceDef::new(path.as_str()), methods));
            operations.into_iter().for_each(|(_, operation)| complete(operation));
        }
        Self { json: document.to_pretty_json().unwrap_or_default(), paths }
    }

    /// The methods of a path; none where the path is unknown.
    pub(super) fn methods(&self, path: &str) -> Vec<Method> {
        let found = self.paths.iter().filter(|(template, _)| template.is_match(path));
        found.flat_map(|(_, methods)| methods.iter().cloned()).collect()
    }
}

fn operations(item: &mut PathItem) -> Vec<(Method, &mut Operation)> {
    let all = [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::DELETE, &mut item.delete),
        (Method::OPTIONS, &mut item.options),
        (Method::PATCH, &mut item.patch),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?))).collect()
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
