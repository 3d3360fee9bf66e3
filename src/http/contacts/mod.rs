//! `/v1/accounts/{account}/contacts`.

mod erase;
pub(in crate::http) mod erased;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) fn routes(v1: &mut ServiceConfig<'_>) {
    v1.service(erase::erase);
}
