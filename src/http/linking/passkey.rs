//! `GET /v1/accounts/{account}/passkey`.

use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::guard::connections::Connection;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{HttpRequest, get, web};
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
    state: web::Data<State>,
    Account(account): Account,
) -> Result<Answer<PasskeyBody>, Problem> {
    let passkey = account.info().await?.view.passkey.ok_or_else(no_passkey)?;
    let expires_at = passkey.expires_at.rfc3339();
    let body = match (passkey.options, passkey.code) {
        (Some(options), _) => {
            let url = format!("{}/link/passkey/{}", public_url(&request, &state), passkey.token);
            PasskeyBody { code: None, expires_at, options: Some(options), url: Some(url) }
        }
        (None, Some(code)) => PasskeyBody { code: Some(code), expires_at, options: None, url: None },
        (None, None) => return Err(no_passkey()),
    };
    Ok(Answer::ok(body))
}

/// The server's address for a browser: the setting, or that of the socket. What the request says of it is no proof: the link is a secret.
fn public_url(request: &HttpRequest, state: &State) -> String {
    let of_socket = || request.conn_data::<Connection>().map_or(request.app_config().local_addr(), |it| it.local);
    state.public_url.clone().unwrap_or_else(|| format!("http://{}", of_socket()))
}

fn no_passkey() -> Problem {
    let detail = "no passkey is asked for; it is while the account is passkey_required or passkey_confirmation";
    Problem::new(409, "no_passkey", detail)
}
