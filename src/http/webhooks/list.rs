//! `GET /v1/webhooks`.

use super::view::render;
use crate::http::auth::caller::Admin;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

pub(in crate::http) async fn list(_: Admin, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let endpoints = state.service.webhooks()?;
    let data: Vec<Value> = endpoints.iter().map(render).collect();
    Ok(HttpResponse::Ok().json(json!({ "data": data, "next": null })))
}
