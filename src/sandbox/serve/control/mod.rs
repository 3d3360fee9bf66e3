//! The control API (`api.md`, "Sandbox control"): phones, passkeys, messages, groups, faults, stanzas.

mod answer;
mod faults;
mod groups;
mod messages;
mod mock;
mod passkeys;
mod phones;
mod service;

use actix_web::web;

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.configure(phones::routes)
        .configure(passkeys::routes)
        .configure(messages::routes)
        .configure(mock::routes)
        .configure(groups::routes)
        .configure(faults::routes)
        .configure(service::routes)
        .default_service(web::to(service::no_route));
}
