//! `POST /v1/accounts/{account}/pairing-code`.

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
struct NewCode {
    phone: String,
}

pub(in crate::http) async fn pairing_code(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
    Body(bytes): Body,
) -> Result<HttpResponse, Problem> {
    let NewCode { phone } = body::read(&bytes)?;
    let code = state.service.pairing_code(&id_of(&path)?, &phone).await?;
    let body = json!({ "code": code.text, "expires_at": code.expires_at.rfc3339() });
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(body))
}
