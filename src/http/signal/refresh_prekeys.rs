//! `POST /v1/accounts/{account}/signal/prekeys/refresh`.

use crate::account::commands::PreKeyUploads;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::problem::{Problem, Problems};
use actix_web::post;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
struct PreKeyRefresh {
    #[schema(example = "refreshing")]
    status: &'static str,
}

/// Uploads a fresh batch of prekeys: now, or with the next login.
#[utoipa::path(tag = "signal", security(("key" = [])), params(AccountPath),
    responses((status = 202, body = PreKeyRefresh), Problems))]
#[post("/accounts/{account}/signal/prekeys/refresh")]
pub(super) async fn refresh_prekeys(_: Caller, Account(account): Account) -> Result<Answer<PreKeyRefresh>, Problem> {
    account.call(|reply| PreKeyUploads::Refresh { reply }.into()).await?;
    Ok(Answer::accepted(PreKeyRefresh { status: "refreshing" }))
}
