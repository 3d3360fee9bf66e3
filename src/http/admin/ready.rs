//! `GET /readyz`.

use super::live::Health;
use crate::http::answer::Answer;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{get, web};

/// Readiness: messages can be accepted, whether or not accounts are online.
#[utoipa::path(tag = "operations", responses((status = 200, body = Health), Problems))]
#[get("/readyz")]
pub(super) async fn ready(state: web::Data<State>) -> Result<Answer<Health>, Problem> {
    if state.service.is_ready() {
        Ok(Answer::ok(Health { status: "ready" }))
    } else {
        Err(Problem::new(503, "not_ready", "the server is shutting down"))
    }
}
