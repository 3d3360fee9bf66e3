//! `/healthz`, `/readyz` and `/metrics`.

use super::State;
use super::auth::Admin;
use super::problem::Problem;
use actix_web::{HttpResponse, web};
use serde_json::json;

/// The process answers.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Sends can be accepted; whether accounts are online is another matter.
pub(super) async fn ready(state: web::Data<State>) -> Result<HttpResponse, Problem> {
    if state.service.is_ready() {
        Ok(HttpResponse::Ok().json(json!({ "status": "ready" })))
    } else {
        Err(Problem::new(503, "not_ready", "the server is shutting down"))
    }
}

/// The Prometheus text format.
pub(super) async fn metrics(_: Admin, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let text = state.service.metrics().await?;
    Ok(HttpResponse::Ok().content_type("application/openmetrics-text; version=1.0.0; charset=utf-8").body(text))
}
