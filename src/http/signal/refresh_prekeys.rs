//! `POST /v1/accounts/{account}/signal/prekeys/refresh`.

use crate::account::commands::PreKeyUploads;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::extract::once::{Once, OnceHeader};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{post, web};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
struct PreKeyRefresh {
    #[schema(example = "refreshing")]
    status: &'static str,
}

/// Uploads a fresh batch of prekeys: now, or with the next login.
#[utoipa::path(tag = "signal", security(("key" = [])), params(AccountPath, OnceHeader),
    responses((status = 202, body = PreKeyRefresh), Problems))]
#[post("/accounts/{account}/signal/prekeys/refresh")]
pub(super) async fn refresh_prekeys(
    _: Caller,
    state: web::Data<State>,
    Account(account): Account,
    once: Once,
) -> Result<Answer<PreKeyRefresh>, Problem> {
    let work = async move {
        account.call(|reply| PreKeyUploads::Refresh { reply }.into()).await?;
        Ok(Answer::accepted(PreKeyRefresh { status: "refreshing" }))
    };
    once.run(&state, work).await
}
