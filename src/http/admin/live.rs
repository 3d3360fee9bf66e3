//! `GET /healthz`.

use crate::http::answer::Answer;
use actix_web::get;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    #[schema(example = "ok")]
    pub(super) status: &'static str,
}

/// Liveness: the process answers.
#[utoipa::path(tag = "operations", responses((status = 200, body = Health)))]
#[get("/healthz")]
pub(super) async fn live() -> Answer<Health> {
    Answer::ok(Health { status: "ok" })
}
