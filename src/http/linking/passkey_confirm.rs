//! `POST /v1/accounts/{account}/passkey/confirm`.

use crate::account::commands::Linking;
use crate::http::accounts::body::AccountBody;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::problem::{Problem, Problems};
use actix_web::post;

/// Confirms that the phone shows the same code.
#[utoipa::path(tag = "linking", security(("key" = [])), params(AccountPath),
    responses((status = 202, body = AccountBody), Problems))]
#[post("/accounts/{account}/passkey/confirm")]
pub(super) async fn confirm(_: Caller, Account(account): Account) -> Result<Answer<AccountBody>, Problem> {
    account.call(|reply| Linking::ConfirmPasskey { reply }.into()).await?;
    Ok(Answer::accepted(AccountBody::of(&account).await?))
}
