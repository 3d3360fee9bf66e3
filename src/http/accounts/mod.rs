//! `/v1/accounts`.

pub(in crate::http) mod body;
mod change;
mod create;
mod delete;
mod get;
mod list;
mod log_out;
mod restart;
mod start;
mod stop;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) fn routes(v1: &mut ServiceConfig<'_>) {
    v1.service(list::list).service(create::create).service(get::show).service(change::change).service(delete::remove);
    v1.service(start::start).service(stop::stop).service(restart::restart).service(log_out::log_out);
}
