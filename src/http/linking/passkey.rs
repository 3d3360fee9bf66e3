//! `/v1/accounts/{account}/passkey`: linking with a passkey.

use crate::account::Assertion;
use crate::http::accounts::view::render;
use crate::http::auth::caller::Admin;
use crate::http::extract::account::id_of;
use crate::http::extract::json::Body;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

fn no_passkey() -> Problem {
    let detail = "no passkey is asked for; it is while the account is passkey_required or passkey_confirmation";
    Problem::new(409, "no_passkey", detail)
}

/// The request options and the link for a browser, or the code to compare.
pub(in crate::http) async fn passkey(
    _: Admin,
    state: web::Data<State>,
    request: HttpRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let info = state.service.account(&id_of(&path)?).await?;
    let passkey = info.view.passkey.as_ref().ok_or_else(no_passkey)?;
    let expires_at = passkey.expires_at.rfc3339();
    let body = match (&passkey.options, &passkey.code) {
        (Some(options), _) => {
            let connection = request.connection_info();
            let url = format!("{}://{}/link/passkey/{}", connection.scheme(), connection.host(), passkey.token);
            json!({ "options": options, "expires_at": expires_at, "url": url })
        }
        (None, Some(code)) => json!({ "code": code, "expires_at": expires_at }),
        (None, None) => return Err(no_passkey()),
    };
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(body))
}

pub(in crate::http) fn read_assertion(bytes: &web::Bytes) -> Result<Assertion, Problem> {
    let text =
        String::from_utf8(bytes.to_vec()).map_err(|_| Problem::new(400, "invalid_body", "the body is not UTF-8"))?;
    Assertion::parse(text).map_err(|error| Problem::new(400, "invalid_body", error.to_string()))
}

/// Takes a browser's `PublicKeyCredential.toJSON()`.
pub(in crate::http) async fn assertion(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
    Body(bytes): Body,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    state.service.prove_by_passkey(&id, read_assertion(&bytes)?).await?;
    Ok(HttpResponse::Accepted().json(render(&state.service.account(&id).await?)))
}

pub(in crate::http) async fn confirm(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    state.service.confirm_passkey(&id).await?;
    Ok(HttpResponse::Accepted().json(render(&state.service.account(&id).await?)))
}
