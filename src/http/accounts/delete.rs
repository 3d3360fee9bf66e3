//! `DELETE /v1/accounts/{account}`.

use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::contacts::erased::Erased;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{delete, web};

/// Logs the account out, and erases all its data. The answer counts what was erased.
#[utoipa::path(tag = "accounts", security(("key" = [])), params(AccountPath),
    responses((status = 200, body = Erased), Problems))]
#[delete("/accounts/{account}")]
pub(super) async fn remove(
    _: Caller,
    state: web::Data<State>,
    Account(account): Account,
) -> Result<Answer<Erased>, Problem> {
    let erased = state.service.delete_account(account.id()).await?;
    Ok(Answer::ok(Erased { erased }))
}
