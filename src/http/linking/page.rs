//! The page behind the one-time link.

use super::passkey::read_assertion;
use crate::account::{AccountView, PasskeyView};
use crate::http::extract::json::Body;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use serde_json::json;

/// The one origin on which a passkey of WhatsApp works.
const WHATSAPP_ORIGIN: &str = "https://web.whatsapp.com";

/// The routes of the one-time link: no key, the link itself is the secret.
pub(in crate::http) fn routes(app: &mut web::ServiceConfig) {
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
