//! `POST /link/passkey/{token}/confirm`.

use super::token::{Accepted, TokenPath, attempt};
use crate::account::commands::Linking;
use crate::http::answer::Answer;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{post, web};

/// Confirms that the phone shows the same code.
#[utoipa::path(tag = "link", params(TokenPath), responses((status = 202, body = Accepted), Problems))]
#[post("/link/passkey/{token}/confirm")]
pub(super) async fn confirm(state: web::Data<State>, path: web::Path<TokenPath>) -> Result<Answer<Accepted>, Problem> {
    let link = attempt(&state, &path).await?;
    let account = state.service.account(&link.account);
    account.call(|reply| Linking::ConfirmPasskey { reply }.into()).await?;
    Ok(Answer::accepted(Accepted::new()))
}
