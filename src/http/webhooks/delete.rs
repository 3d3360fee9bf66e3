//! `DELETE /v1/webhooks/{id}`.

use crate::http::auth::caller::Admin;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};

pub(in crate::http) async fn delete(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    state.service.delete_webhook(&path).await?;
    Ok(HttpResponse::NoContent().finish())
}
