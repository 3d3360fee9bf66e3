//! `GET /v1/webhooks/{id}`.

use super::view::render;
use crate::http::auth::caller::Admin;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};

pub(in crate::http) async fn get(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let endpoints = state.service.webhooks()?;
    let found = endpoints.iter().find(|endpoint| endpoint.id.as_str() == path.as_str());
    let none = || Problem::new(404, "webhook_not_found", format!("there is no webhook {:?}", path.as_str()));
    Ok(HttpResponse::Ok().json(render(found.ok_or_else(none)?)))
}
