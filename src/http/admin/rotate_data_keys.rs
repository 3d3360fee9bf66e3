//! `POST /v1/admin/keys/rotate-data`.

use crate::http::auth::caller::Admin;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};
use serde_json::json;

/// Replaces all data keys in the background.
pub(in crate::http) async fn rotate_data_keys(_: Admin, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let keys = state.service.rotate_data_keys().await?;
    Ok(HttpResponse::Accepted().json(json!({ "keys": keys })))
}
