//! `POST /v1/accounts/{account}/signal/prekeys/refresh`.

use crate::http::auth::caller::Admin;
use crate::http::extract::account::id_of;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};
use serde_json::json;

/// Has a fresh batch of prekeys uploaded: now, or with the next login.
pub(in crate::http) async fn refresh_prekeys(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    state.service.refresh_prekeys(&id_of(&path)?).await?;
    Ok(HttpResponse::Accepted().json(json!({ "status": "refreshing" })))
}
