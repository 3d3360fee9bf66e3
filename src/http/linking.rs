//! Linking by code and with a passkey: `/v1/accounts/{account}/pairing-code` and `passkey`, and the page behind the one-time link.

use super::State;
use super::accounts::{id_of, render};
use super::auth::Admin;
use super::body::{self, Body};
use super::problem::Problem;
use crate::account::commands::Assertion;
use crate::account::{AccountView, PasskeyView};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde::Deserialize;
use serde_json::json;

/// The one origin on which a passkey of WhatsApp works.
const WHATSAPP_ORIGIN: &str = "https://web.whatsapp.com";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCode {
    phone: String,
}

pub(super) async fn pairing_code(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
    Body(bytes): Body,
) -> Result<HttpResponse, Problem> {
    let NewCode { phone } = body::read(&bytes)?;
    let code = state.service.pairing_code(&id_of(&path)?, &phone).await?;
    let body = json!({ "code": code.text, "expires_at": code.expires_at.rfc3339() });
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(body))
}

fn no_passkey() -> Problem {
    let detail = "no passkey is asked for; it is while the account is passkey_required or passkey_confirmation";
    Problem::new(409, "no_passkey", detail)
}

/// The request options and the link for a browser, or the code to compare.
pub(super) async fn passkey(
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

fn read_assertion(bytes: &web::Bytes) -> Result<Assertion, Problem> {
    let text =
        String::from_utf8(bytes.to_vec()).map_err(|_| Problem::new(400, "invalid_body", "the body is not UTF-8"))?;
    Assertion::parse(text).map_err(|error| Problem::new(400, "invalid_body", error.to_string()))
}

/// Takes a browser's `PublicKeyCredential.toJSON()`.
pub(super) async fn assertion(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
    Body(bytes): Body,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    state.service.prove_by_passkey(&id, read_assertion(&bytes)?).await?;
    Ok(HttpResponse::Accepted().json(render(&state.service.account(&id).await?)))
}

pub(super) async fn confirm(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    state.service.confirm_passkey(&id).await?;
    Ok(HttpResponse::Accepted().json(render(&state.service.account(&id).await?)))
}

/// The routes of the one-time link: no key, the link itself is the secret.
pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route(
        "/link/passkey.js",
        web::get().to(|| page("text/javascript; charset=utf-8", include_str!("pages/passkey.js"))),
    )
    .route("/link/passkey.css", web::get().to(|| page("text/css; charset=utf-8", include_str!("pages/passkey.css"))))
    .route(
        "/link/passkey/{token}",
        web::get().to(|| page("text/html; charset=utf-8", include_str!("pages/passkey.html"))),
    )
    .route("/link/passkey/{token}/state", web::get().to(link_state))
    .route("/link/passkey/{token}/assertion", web::post().to(link_assertion))
    .route("/link/passkey/{token}/assertion", web::method(actix_web::http::Method::OPTIONS).to(preflight))
    .route("/link/passkey/{token}/confirm", web::post().to(link_confirm));
}

async fn page(kind: &'static str, body: &'static str) -> HttpResponse {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                          base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header(("content-security-policy", POLICY))
        .insert_header(("referrer-policy", "no-referrer"))
        .insert_header(("x-content-type-options", "nosniff"))
        .insert_header(("cache-control", "no-store"))
        .body(body)
}

/// What the page and WhatsApp's own tab may read; nobody else.
fn for_the_tab(response: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    response
        .insert_header(("access-control-allow-origin", WHATSAPP_ORIGIN))
        .insert_header(("vary", "origin"))
        .insert_header(("cache-control", "no-store"))
}

async fn preflight() -> HttpResponse {
    for_the_tab(&mut HttpResponse::NoContent())
        .insert_header(("access-control-allow-methods", "POST"))
        .insert_header(("access-control-allow-headers", "content-type"))
        .insert_header(("access-control-allow-private-network", "true"))
        .finish()
}

async fn named(state: &State, token: &str) -> Result<(crate::base::ids::AccountId, AccountView, PasskeyView), Problem> {
    let gone = || Problem::new(404, "link_expired", "this link is used up or has expired");
    let link = state.service.passkey_link(token).await?.ok_or_else(gone)?;
    let passkey = link.view.passkey.clone().ok_or_else(gone)?;
    Ok((link.account, link.view, passkey))
}

async fn link_state(state: web::Data<State>, token: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (account, view, passkey) = named(&state, &token).await?;
    Ok(for_the_tab(&mut HttpResponse::Ok()).json(json!({
        "account": account,
        "state": view.state,
        "options": passkey.options,
        "code": passkey.code,
        "expires_at": passkey.expires_at.rfc3339(),
    })))
}

async fn link_assertion(
    state: web::Data<State>,
    token: web::Path<String>,
    Body(bytes): Body,
) -> Result<HttpResponse, Problem> {
    let (account, ..) = named(&state, &token).await?;
    state.service.prove_by_passkey(&account, read_assertion(&bytes)?).await?;
    Ok(for_the_tab(&mut HttpResponse::Accepted()).json(json!({ "status": "accepted" })))
}

async fn link_confirm(state: web::Data<State>, token: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (account, ..) = named(&state, &token).await?;
    state.service.confirm_passkey(&account).await?;
    Ok(HttpResponse::Accepted().json(json!({ "status": "accepted" })))
}
