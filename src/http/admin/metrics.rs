//! `GET /metrics`.

use crate::http::auth::caller::Caller;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{HttpResponse, get, web};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics in the OpenMetrics text format.
#[utoipa::path(tag = "operations", security(("key" = [])),
    responses((status = 200, body = String, content_type = "application/openmetrics-text"), Problems))]
#[get("/metrics")]
pub(super) async fn metrics(_: Caller, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let text = state.service.metrics().await?;
    Ok(HttpResponse::Ok().content_type(OPEN_METRICS).body(text))
}
