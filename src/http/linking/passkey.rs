//! `GET /v1/accounts/{account}/passkey`.

use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::problem::{Problem, Problems};
use actix_web::{HttpRequest, get};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[schema(as = Passkey)]
struct PasskeyBody {
    /// The code to compare with the phone's, while the account is `passkey_confirmation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[schema(format = DateTime)]
    expires_at: String,
    /// The WebAuthn request options, while the account is `passkey_required`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    options: Option<Value>,
    /// The one-time link for a browser, beside the options.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// Shows the request options and the one-time link for a browser, or the code to compare.
#[utoipa::path(tag = "linking", security(("key" = [])), params(AccountPath),
    responses((status = 200, body = PasskeyBody), Problems))]
#[get("/accounts/{account}/passkey")]
pub(super) async fn passkey(
    _: Caller,
    request: HttpRequest,
    Account(account): Account,
) -> Result<Answer<PasskeyBody>, Problem> {
    let passkey = account.info().await?.view.passkey.ok_or_else(no_passkey)?;
    let expires_at = passkey.expires_at.rfc3339();
    let body = match (passkey.options, passkey.code) {
        (Some(options), _) => {
            let connection = request.connection_info();
            let url = format!("{}://{}/link/passkey/{}", connection.scheme(), connection.host(), passkey.token);
            PasskeyBody { code: None, expires_at, options: Some(options), url: Some(url) }
        }
        (None, Some(code)) => PasskeyBody { code: Some(code), expires_at, options: None, url: None },
        (None, None) => return Err(no_passkey()),
    };
    Ok(Answer::ok(body).secret())
}

fn no_passkey() -> Problem {
    let detail = "no passkey is asked for; it is while the account is passkey_required or passkey_confirmation";
    Problem::new(409, "no_passkey", detail)
}
