//! `POST /v1/accounts/{account}/passkey/confirm`.

use crate::http::accounts::body::AccountBody;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{post, web};

/// Confirms that the phone shows the same code.
#[utoipa::path(tag = "linking", security(("key" = [])), params(AccountPath),
    responses((status = 202, body = AccountBody), Problems))]
#[post("/accounts/{account}/passkey/confirm")]
pub(super) async fn confirm(
    _: Caller,
    state: web::Data<State>,
    Account(id): Account,
) -> Result<Answer<AccountBody>, Problem> {
    state.service.confirm_passkey(&id).await?;
    Ok(Answer::accepted(AccountBody::of(&state.service, &id).await?))
}
