//! Linking: QR codes, pairing codes, passkeys, and the page behind the one-time link of a passkey.

mod assertion;
mod code;
mod page;
mod pairing_code;
mod passkey;
mod passkey_confirm;
mod qr;
mod qr_image;

use utoipa_actix_web::service_config::ServiceConfig;

/// Outside `/v1`: the page needs no key, its link is the secret.
pub(super) fn root_routes(root: &mut ServiceConfig<'_>) {
    page::routes(root);
}

pub(super) fn routes(v1: &mut ServiceConfig<'_>) {
    v1.service(qr::qr).service(pairing_code::pairing_code);
    v1.service(passkey::passkey).service(assertion::prove).service(passkey_confirm::confirm);
}
