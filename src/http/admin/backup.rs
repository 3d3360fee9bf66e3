//! `GET /v1/admin/backup`.

use crate::http::auth::caller::Caller;
use crate::http::extract::account;
use crate::http::extract::query::Query;
use crate::http::openapi::Binary;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{HttpResponse, get, web};
use futures_util::stream::unfold;
use serde::Deserialize;
use utoipa::IntoParams;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BackupQuery {
    /// One account instead of everything.
    account: Option<String>,
}

/// Streams a backup of everything, or of one account. Its values stay sealed.
#[utoipa::path(tag = "operations", security(("key" = [])), params(BackupQuery),
    responses((status = 200, body = Binary, content_type = "application/octet-stream"), Problems))]
#[get("/admin/backup")]
pub(super) async fn backup(
    _: Caller,
    state: web::Data<State>,
    Query(query): Query<BackupQuery>,
) -> Result<HttpResponse, Problem> {
    let account = query.account.as_deref().map(account::parse).transpose()?;
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
