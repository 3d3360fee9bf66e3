//! `/v1/accounts/{account}/signal/…`: low-level Signal operations.

mod refresh_prekeys;
mod rotate;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) fn routes(v1: &mut ServiceConfig<'_>) {
    v1.service(refresh_prekeys::refresh_prekeys).service(rotate::rotate);
}
