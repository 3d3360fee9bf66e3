//! The page's files. Its policy allows what comes from this server, and nothing else.

use super::token::TokenPath;
use actix_web::{HttpResponse, get, web};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

fn file(kind: &'static str, body: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header(("content-security-policy", POLICY))
        .insert_header(("referrer-policy", "no-referrer"))
        .insert_header(("x-content-type-options", "nosniff"))
        .insert_header(("cache-control", "no-store"))
        .body(body)
}

/// The script of the page.
#[utoipa::path(tag = "link", responses((status = 200, body = String, content_type = "text/javascript")))]
#[get("/link/passkey.js")]
pub(super) async fn script() -> HttpResponse {
    file("text/javascript; charset=utf-8", include_str!("assets/passkey.js"))
}

/// The style of the page.
#[utoipa::path(tag = "link", responses((status = 200, body = String, content_type = "text/css")))]
#[get("/link/passkey.css")]
pub(super) async fn style() -> HttpResponse {
    file("text/css; charset=utf-8", include_str!("assets/passkey.css"))
}

/// The page that a one-time link opens.
#[utoipa::path(tag = "link", params(TokenPath), responses((status = 200, body = String, content_type = "text/html")))]
#[get("/link/passkey/{token}")]
pub(super) async fn page(_: web::Path<TokenPath>) -> HttpResponse {
    file("text/html; charset=utf-8", include_str!("assets/passkey.html"))
}
