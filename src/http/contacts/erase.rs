//! `DELETE /v1/accounts/{account}/contacts/{contact}`.

use super::erased::Erased;
use crate::account::Contact;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{delete, web};
use serde::Deserialize;
use utoipa::IntoParams;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct ContactPath {
    /// A phone number, a JID or a LID.
    #[param(example = "15550002222")]
    contact: String,
}

/// Erases everything known of a contact: messages, events, sessions, identities. The answer counts what was erased.
#[utoipa::path(tag = "contacts", security(("key" = [])), params(AccountPath, ContactPath),
    responses((status = 200, body = Erased), Problems))]
#[delete("/accounts/{account}/contacts/{contact}")]
pub(super) async fn erase(
    _: Caller,
    state: web::Data<State>,
    Account(account): Account,
    path: web::Path<ContactPath>,
) -> Result<Answer<Erased>, Problem> {
    let contact: Contact = path.contact.parse().map_err(|error| Problem::field("contact", error))?;
    let erased = state.service.erase_contact(account.id(), &contact).await?;
    Ok(Answer::ok(Erased { erased }))
}
