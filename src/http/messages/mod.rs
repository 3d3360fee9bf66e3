//! `/v1/accounts/{account}/messages`.

mod get;
mod send;
mod status;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) fn routes(v1: &mut ServiceConfig<'_>) {
    v1.service(send::send).service(get::show);
}
