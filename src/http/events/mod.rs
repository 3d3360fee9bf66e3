//! `/v1/events`: the event log.

mod list;
pub(in crate::http) mod types;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) fn routes(v1: &mut ServiceConfig<'_>) {
    v1.service(list::list);
}
