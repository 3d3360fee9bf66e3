//! The routes, and the server that serves them.

use crate::http::extract::body::MAX_BODY;
use crate::http::guard::connections::Connections;
use crate::http::guard::{authenticate, pass};
use crate::http::openapi::{self, Routes};
use crate::http::problem::Problem;
use crate::http::state::State;
use crate::http::{accounts, admin, contacts, events, linking, messages, signal, webhooks};
use actix_cors::Cors;
use actix_web::dev::Server;
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, ResponseError, web};
use std::net::TcpListener;
use utoipa_actix_web::AppExt;

/// Serves the interface on a bound listener until the server is stopped.
pub fn serve(listener: TcpListener, state: State, cors_origins: &[String]) -> std::io::Result<Server> {
    let connections = Connections::new(state.limits.connections);
    let state = web::Data::new(state);
    let cors_origins = cors_origins.to_vec();
    let server = HttpServer::new(move || {
        // Routes are tried in this order, each with a regular expression: what is asked most comes first.
        let v1 = utoipa_actix_web::scope("/v1")
            .configure(messages::routes)
            .configure(accounts::routes)
            .configure(linking::routes)
            .configure(contacts::routes)
            .configure(signal::routes)
            .configure(events::routes)
            .configure(webhooks::routes)
            .configure(admin::routes)
            .wrap(from_fn(authenticate))
            .wrap(Condition::new(!cors_origins.is_empty(), cors(&cors_origins)));
        let (app, document) = App::new()
            .wrap(from_fn(pass))
            .into_utoipa_app()
            .openapi(openapi::base())
            .configure(admin::root_routes)
            .configure(linking::root_routes)
            .service(openapi::describe)
            .service(v1)
            .split_for_parts();
        app.app_data(state.clone())
            .app_data(web::Data::new(Routes::new(document)))
            .app_data(web::PayloadConfig::new(MAX_BODY))
            .default_service(web::to(no_route))
    });
    let server = server.on_connect(move |io, data| connections.on_connect(io, data));
    Ok(server.workers(2).shutdown_timeout(5).disable_signals().listen(listener)?.run())
}

/// Lets pages of these origins call the interface; `*` stands for every origin. API keys travel in headers, so no credentials.
fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods(["GET", "POST", "PUT", "PATCH", "DELETE"])
        .allowed_headers(["accept", "authorization", "content-type", "idempotency-key", "x-api-key"])
        .expose_headers(["content-disposition", "retry-after"])
        .max_age(3600);
    origins.iter().fold(cors, |cors, origin| match origin.as_str() {
        "*" => cors.allow_any_origin(),
        origin => cors.allowed_origin(origin),
    })
}

/// Answers a request whose path or method is unknown.
async fn no_route(request: HttpRequest, routes: web::Data<Routes>) -> HttpResponse {
    let (method, path) = (request.method(), request.path());
    let allowed = routes.methods(path);
    if allowed.is_empty() {
        return Problem::new(404, "not_found", format!("there is no {method} {path}")).error_response();
    }
    let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let detail = format!("{path} does not take {method}; it takes {allowed}");
    let mut response = Problem::new(405, "method_not_allowed", detail).error_response();
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}
