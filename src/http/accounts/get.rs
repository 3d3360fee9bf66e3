//! `GET /v1/accounts/{account}`.

use super::body::AccountBody;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::problem::{Problem, Problems};
use actix_web::get;

/// Shows an account: its state, addresses and settings.
#[utoipa::path(tag = "accounts", security(("key" = [])), params(AccountPath),
    responses((status = 200, body = AccountBody), Problems))]
#[get("/accounts/{account}")]
pub(super) async fn show(_: Caller, Account(account): Account) -> Result<Answer<AccountBody>, Problem> {
    Ok(Answer::ok(AccountBody::of(&account).await?))
}
