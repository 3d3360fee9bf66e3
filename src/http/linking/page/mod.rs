//! The page behind the one-time link of a passkey. No key: the link is the secret.

mod assertion;
mod confirm;
mod document;
mod preflight;
mod state;
mod tab;
mod token;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) fn routes(root: &mut ServiceConfig<'_>) {
    root.service(document::script).service(document::style).service(document::page);
    root.service(state::state).service(preflight::preflight).service(assertion::prove).service(confirm::confirm);
}
