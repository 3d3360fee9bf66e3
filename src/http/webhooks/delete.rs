//! `DELETE /v1/webhooks/{webhook}`.

use super::body::WebhookPath;
use crate::http::auth::caller::Caller;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{HttpResponse, delete, web};

/// Deletes a webhook.
#[utoipa::path(tag = "webhooks", security(("key" = [])), params(WebhookPath),
    responses((status = 204, description = "Deleted."), Problems))]
#[delete("/webhooks/{webhook}")]
pub(super) async fn remove(
    _: Caller,
    state: web::Data<State>,
    path: web::Path<WebhookPath>,
) -> Result<HttpResponse, Problem> {
    state.service.delete_webhook(&path.webhook).await?;
    Ok(HttpResponse::NoContent().finish())
}
