//! `/v1/accounts/{account}/signal/…`: the low-level Signal operations.

use super::State;
use super::accounts::id_of;
use super::auth::Admin;
use super::body::{self, Body};
use super::problem::Problem;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    group: String,
}

/// Drops our sender key for a group or for status: the next message brings everybody a new one.
pub(super) async fn rotate(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
    Body(bytes): Body,
) -> Result<HttpResponse, Problem> {
    let Rotate { group } = body::read(&bytes)?;
    state.service.rotate_sender_key(&id_of(&path)?, &group).await?;
    Ok(HttpResponse::Ok().json(json!({ "group": group, "rotated": true })))
}

/// Has a fresh batch of prekeys uploaded: now, or with the next login.
pub(super) async fn refresh_prekeys(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    state.service.refresh_prekeys(&id_of(&path)?).await?;
    Ok(HttpResponse::Accepted().json(json!({ "status": "refreshing" })))
}
