//! `GET /v1/accounts`.

use super::view::render;
use crate::actors::AccountInfo;
use crate::http::auth::caller::Admin;
use crate::http::extract::page::Page;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};
use serde_json::json;

pub(in crate::http) async fn list(
    _: Admin,
    state: web::Data<State>,
    page: web::Query<Page>,
) -> Result<HttpResponse, Problem> {
    let limit = page.limit.unwrap_or(100).clamp(1, 1000);
    let all = state.service.accounts().await?;
    let after = page.cursor.as_deref().unwrap_or("");
    let mut rest = all.iter().filter(|info| info.id.as_str() > after).peekable();
    let data: Vec<&AccountInfo> = rest.by_ref().take(limit).collect();
    let next = rest.peek().and(data.last()).map(|info| info.id.to_string());
    Ok(HttpResponse::Ok().json(json!({ "data": data.into_iter().map(render).collect::<Vec<_>>(), "next": next })))
}
