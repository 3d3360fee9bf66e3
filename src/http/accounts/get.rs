//! `GET /v1/accounts/{account}`.

use super::view::render;
use crate::http::auth::caller::Admin;
use crate::http::extract::account::id_of;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};

pub(in crate::http) async fn get(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let info = state.service.account(&id_of(&path)?).await?;
    Ok(HttpResponse::Ok().json(render(&info)))
}
