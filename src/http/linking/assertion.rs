//! `POST /v1/accounts/{account}/passkey`.

use crate::account::commands::{Assertion, Linking};
use crate::http::accounts::body::AccountBody;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::extract::body::Body;
use crate::http::extract::once::{Once, OnceHeader};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{post, web};

/// Parses a browser's `PublicKeyCredential.toJSON()`, whose text is passed on unchanged.
pub(super) fn parse_assertion(bytes: &web::Bytes) -> Result<Assertion, Problem> {
    let text =
        String::from_utf8(bytes.to_vec()).map_err(|_| Problem::new(400, "invalid_body", "the body is not UTF-8"))?;
    Assertion::parse(text).map_err(|error| Problem::new(400, "invalid_body", error.to_string()))
}

/// Accepts the assertion of a passkey: a browser's `PublicKeyCredential.toJSON()`.
#[utoipa::path(tag = "linking", security(("key" = [])), params(AccountPath, OnceHeader), request_body = Object,
    responses((status = 202, body = AccountBody), Problems))]
#[post("/accounts/{account}/passkey")]
pub(super) async fn prove(
    _: Caller,
    state: web::Data<State>,
    Account(account): Account,
    once: Once,
    Body(bytes): Body,
) -> Result<Answer<AccountBody>, Problem> {
    let work = async move {
        let assertion = Box::new(parse_assertion(&bytes)?);
        account.call(|reply| Linking::Passkey { assertion, reply }.into()).await?;
        Ok(Answer::accepted(AccountBody::of(&account).await?))
    };
    once.run(&state, work).await
}
