//! What operators ask of a running server.

use super::State;
use super::accounts::id_of;
use super::auth::Admin;
use super::problem::Problem;
use actix_web::{HttpResponse, web};
use futures_util::stream::unfold;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backup {
    account: Option<String>,
}

/// A backup of everything, or of one account, as a stream.
pub(super) async fn backup(
    _: Admin,
    state: web::Data<State>,
    query: web::Query<Backup>,
) -> Result<HttpResponse, Problem> {
    let account = query.account.as_deref().map(id_of).transpose()?;
    let pieces = state.service.backup(account.as_ref())?;
    let stream = unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece.map(web::Bytes::from), pieces))
    });
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header(("content-disposition", "attachment; filename=\"wharf.backup\""))
        .streaming(stream))
}

/// Replaces all data keys in the background.
pub(super) async fn rotate_data_keys(_: Admin, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let keys = state.service.rotate_data_keys().await?;
    Ok(HttpResponse::Accepted().json(json!({ "keys": keys })))
}
