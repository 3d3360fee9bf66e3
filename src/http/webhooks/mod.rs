//! `/v1/webhooks`: endpoints that events are delivered to.

mod body;
mod create;
mod delete;
mod get;
mod list;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) fn routes(v1: &mut ServiceConfig<'_>) {
    v1.service(list::list).service(create::create).service(get::show).service(delete::remove);
}
