//! `POST /v1/accounts/{account}/pairing-code`.

use super::code::CodeBody;
use crate::account::Contact;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::extract::json::Json;
use crate::http::extract::once::{Once, OnceHeader};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{post, web};
use serde::Deserialize;
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PairingPhone {
    /// The number of the phone that the code is typed into.
    #[schema(example = "15550001111")]
    phone: String,
}

/// Begins to link by an eight-character code that is typed into the phone.
#[utoipa::path(tag = "linking", security(("key" = [])), params(AccountPath, OnceHeader), request_body = PairingPhone,
    responses((status = 200, body = CodeBody), Problems))]
#[post("/accounts/{account}/pairing-code")]
pub(super) async fn pairing_code(
    _: Caller,
    state: web::Data<State>,
    Account(account): Account,
    once: Once,
    Json(PairingPhone { phone }): Json<PairingPhone>,
) -> Result<Answer<CodeBody>, Problem> {
    let service = state.service.clone();
    let work = async move {
        let phone: Contact = phone.parse().map_err(|error| Problem::field("phone", error))?;
        let code = service.pairing_code(account.id(), phone).await?;
        Ok(Answer::ok(code.into()))
    };
    once.run(&state, work).await
}
