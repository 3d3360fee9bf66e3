//! `GET /v1/webhooks/{webhook}`.

use super::body::{WebhookBody, WebhookPath};
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{get, web};

/// Shows a webhook.
#[utoipa::path(tag = "webhooks", security(("key" = [])), params(WebhookPath),
    responses((status = 200, body = WebhookBody), Problems))]
#[get("/webhooks/{webhook}")]
pub(super) async fn show(
    _: Caller,
    state: web::Data<State>,
    path: web::Path<WebhookPath>,
) -> Result<Answer<WebhookBody>, Problem> {
    let endpoints = state.service.webhooks()?;
    let found = endpoints.iter().find(|endpoint| endpoint.id.as_str() == path.webhook);
    let none = || Problem::new(404, "webhook_not_found", format!("there is no webhook {:?}", path.webhook));
    Ok(Answer::ok(found.ok_or_else(none)?.into()))
}
