//! `GET /v1/admin/backup`.

use crate::http::auth::caller::Admin;
use crate::http::extract::account::id_of;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};
use futures_util::stream::unfold;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Backup {
    account: Option<String>,
}

/// A backup of everything, or of one account, as a stream.
pub(in crate::http) async fn backup(
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
