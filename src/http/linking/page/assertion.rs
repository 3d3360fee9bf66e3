//! `POST /link/passkey/{token}/assertion`.

use super::tab::allow_tab;
use super::token::{Accepted, Attempt, TokenPath};
use crate::account::commands::Linking;
use crate::http::extract::body::Body;
use crate::http::linking::assertion::parse_assertion;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{HttpResponse, post, web};

/// Accepts the assertion of a passkey: a browser's `PublicKeyCredential.toJSON()`.
#[utoipa::path(tag = "link", params(TokenPath), request_body = Object, responses((status = 202, body = Accepted), Problems))]
#[post("/link/passkey/{token}/assertion")]
pub(super) async fn prove(
    state: web::Data<State>,
    Attempt(link): Attempt,
    Body(bytes): Body,
) -> Result<HttpResponse, Problem> {
    let (account, assertion) = (state.service.account(&link.account), Box::new(parse_assertion(&bytes)?));
    account.call(|reply| Linking::Passkey { assertion, reply }.into()).await?;
    Ok(allow_tab(&mut HttpResponse::Accepted()).json(Accepted::new()))
}
