//! `DELETE /v1/accounts/{account}/contacts/{contact}`.

use crate::http::auth::caller::Admin;
use crate::http::extract::account::id_of;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};
use serde_json::json;

/// Erases what is known of a contact; tells what went.
pub(in crate::http) async fn erase_contact(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (account, contact) = path.into_inner();
    let erased = state.service.erase_contact(&id_of(&account)?, &contact).await?;
    Ok(HttpResponse::Ok().json(json!({ "erased": erased })))
}
