//! `GET /link/passkey/{token}/state`.

use super::tab::allow_tab;
use super::token::{TokenPath, attempt, expired};
use crate::account::AccountState;
use crate::base::ids::AccountId;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
struct LinkState {
    #[schema(value_type = String)]
    account: AccountId,
    /// The code to compare with the phone's.
    code: Option<String>,
    #[schema(format = DateTime)]
    expires_at: String,
    /// The WebAuthn request options.
    #[schema(value_type = Option<Object>)]
    options: Option<Value>,
    #[schema(value_type = String)]
    state: AccountState,
}

/// Shows the state of the attempt to link.
#[utoipa::path(tag = "link", params(TokenPath), responses((status = 200, body = LinkState), Problems))]
#[get("/link/passkey/{token}/state")]
pub(super) async fn state(state: web::Data<State>, path: web::Path<TokenPath>) -> Result<HttpResponse, Problem> {
    let link = attempt(&state, &path).await?;
    let passkey = link.view.passkey.ok_or_else(expired)?;
    let body = LinkState {
        account: link.account,
        code: passkey.code,
        expires_at: passkey.expires_at.rfc3339(),
        options: passkey.options,
        state: link.view.state,
    };
    Ok(allow_tab(&mut HttpResponse::Ok()).json(body))
}
