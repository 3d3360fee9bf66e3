//! `POST /v1/accounts/{account}/stop`.

use super::body::AccountBody;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{post, web};

/// Stops an account. It stays linked, and stays stopped after a restart of the server.
#[utoipa::path(tag = "accounts", security(("key" = [])), params(AccountPath),
    responses((status = 200, body = AccountBody), Problems))]
#[post("/accounts/{account}/stop")]
pub(super) async fn stop(
    _: Caller,
    state: web::Data<State>,
    Account(account): Account,
) -> Result<Answer<AccountBody>, Problem> {
    state.service.stop_account(account.id()).await?;
    Ok(Answer::ok(AccountBody::of(&account).await?))
}
