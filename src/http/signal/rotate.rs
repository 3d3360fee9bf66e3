//! `POST /v1/accounts/{account}/signal/rotate`.

use crate::http::auth::caller::Admin;
use crate::http::extract::account::id_of;
use crate::http::extract::json as body;
use crate::http::extract::json::Body;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    group: String,
}

/// Drops our sender key for a group or for status: the next message brings everybody a new one.
pub(in crate::http) async fn rotate(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
    Body(bytes): Body,
) -> Result<HttpResponse, Problem> {
    let Rotate { group } = body::read(&bytes)?;
    state.service.rotate_sender_key(&id_of(&path)?, &group).await?;
    Ok(HttpResponse::Ok().json(json!({ "group": group, "rotated": true })))
}
