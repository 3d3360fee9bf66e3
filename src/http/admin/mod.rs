//! Operators' requests: health, metrics, backup, keys.

mod backup;
mod live;
mod metrics;
mod ready;
mod rotate_data_keys;

use utoipa_actix_web::service_config::ServiceConfig;

/// Outside `/v1`: the paths that probes and scrapers expect.
pub(super) fn root_routes(root: &mut ServiceConfig<'_>) {
    root.service(live::live).service(ready::ready).service(metrics::metrics);
}

pub(super) fn routes(v1: &mut ServiceConfig<'_>) {
    v1.service(rotate_data_keys::rotate_data_keys).service(backup::backup);
}
