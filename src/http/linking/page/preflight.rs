//! `OPTIONS /link/passkey/{token}/assertion`.

use super::tab::allow_tab;
use super::token::TokenPath;
use actix_web::{HttpResponse, options, web};

/// Answers the preflight request of WhatsApp's tab.
#[utoipa::path(tag = "link", params(TokenPath), responses((status = 204, description = "The tab may post its assertion.")))]
#[options("/link/passkey/{token}/assertion")]
pub(super) async fn preflight(_: web::Path<TokenPath>) -> HttpResponse {
    allow_tab(&mut HttpResponse::NoContent())
        .insert_header(("access-control-allow-methods", "POST"))
        .insert_header(("access-control-allow-headers", "content-type"))
        .insert_header(("access-control-allow-private-network", "true"))
        .finish()
}
