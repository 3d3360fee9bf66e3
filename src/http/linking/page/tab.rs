//! Headers that let WhatsApp's own tab read an answer, and no other site.

use actix_web::HttpResponseBuilder;

/// The one origin on which a passkey of WhatsApp works.
const WHATSAPP_ORIGIN: &str = "https://web.whatsapp.com";

pub(super) fn allow_tab(response: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    response
        .insert_header(("access-control-allow-origin", WHATSAPP_ORIGIN))
        .insert_header(("vary", "origin"))
        .insert_header(("cache-control", "no-store"))
}
