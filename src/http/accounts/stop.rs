//! `POST /v1/accounts/{account}/stop`.

use super::view::render;
use crate::http::auth::caller::Admin;
use crate::http::extract::account::id_of;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};

pub(in crate::http) async fn stop(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    state.service.stop_account(&id).await?;
    Ok(HttpResponse::Ok().json(render(&state.service.account(&id).await?)))
}
