//! `POST /v1/accounts/{account}/passkey/confirm`.

use crate::account::commands::Linking;
use crate::http::accounts::body::AccountBody;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::extract::once::{Once, OnceHeader};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{post, web};

/// Confirms that the phone shows the same code.
#[utoipa::path(tag = "linking", security(("key" = [])), params(AccountPath, OnceHeader),
    responses((status = 202, body = AccountBody), Problems))]
#[post("/accounts/{account}/passkey/confirm")]
pub(super) async fn confirm(
    _: Caller,
    state: web::Data<State>,
    Account(account): Account,
    once: Once,
) -> Result<Answer<AccountBody>, Problem> {
    let work = async move {
        account.call(|reply| Linking::ConfirmPasskey { reply }.into()).await?;
        Ok(Answer::accepted(AccountBody::of(&account).await?))
    };
    once.run(&state, work).await
}
