//! `/healthz`, `/readyz` and `/metrics`.

use crate::http::auth::caller::Admin;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};
use serde_json::json;

/// The process answers.
pub(in crate::http) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Sends can be accepted; whether accounts are online is another matter.
pub(in crate::http) async fn ready(state: web::Data<State>) -> Result<HttpResponse, Problem> {
    if state.service.is_ready() {
        Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
    } else {
        Err(Problem::new(503, "not_ready", "the server is shutting down"))
    }
}

/// The Prometheus text format.
pub(in crate::http) async fn metrics(_: Admin, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let text = state.service.metrics().await?;
    Ok(HttpResponse::Ok().content_type("application/openmetrics-text; version=1.0.0; charset=utf-8").body(text))
}
