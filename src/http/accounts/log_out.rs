//! `POST /v1/accounts/{account}/logout`.

use super::body::AccountBody;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::extract::once::{Once, OnceHeader};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{post, web};

/// Removes the linked device. The account stays, and can be linked again.
#[utoipa::path(tag = "accounts", security(("key" = [])), params(AccountPath, OnceHeader),
    responses((status = 200, body = AccountBody), Problems))]
#[post("/accounts/{account}/logout")]
pub(super) async fn log_out(
    _: Caller,
    state: web::Data<State>,
    Account(account): Account,
    once: Once,
) -> Result<Answer<AccountBody>, Problem> {
    let service = state.service.clone();
    let work = async move {
        service.log_out_account(account.id()).await?;
        Ok(Answer::ok(AccountBody::of(&account).await?))
    };
    once.run(&state, work).await
}
