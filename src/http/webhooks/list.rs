//! `GET /v1/webhooks`.

use super::body::WebhookBody;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{get, web};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
struct WebhookPage {
    data: Vec<WebhookBody>,
    /// Always null: the list has one page.
    next: Option<String>,
}

/// Lists webhooks.
#[utoipa::path(tag = "webhooks", security(("key" = [])), responses((status = 200, body = WebhookPage), Problems))]
#[get("/webhooks")]
pub(super) async fn list(_: Caller, state: web::Data<State>) -> Result<Answer<WebhookPage>, Problem> {
    let endpoints = state.service.webhooks()?;
    Ok(Answer::ok(WebhookPage { data: endpoints.iter().map(WebhookBody::from).collect(), next: None }))
}
