//! `DELETE /v1/accounts/{account}`.

use crate::http::auth::caller::Admin;
use crate::http::extract::account::id_of;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};
use serde_json::json;

/// Logs the account out, and erases all its data; tells what went.
pub(in crate::http) async fn delete(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let erased = state.service.delete_account(&id_of(&path)?).await?;
    Ok(HttpResponse::Ok().json(json!({ "erased": erased })))
}
