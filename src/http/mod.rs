//! Layer 5: REST. Routes, bodies, keys; what happens is asked of `actors::Service`.
//!
//! Nothing here knows the protocol or a storage key. Every error is `application/problem+json`, mapped in `problem.rs`.

mod accounts;
mod admin;
mod auth;
mod body;
mod events;
mod health;
mod idempotency;
mod linking;
mod messages;
mod problem;
mod qr;
mod signal;
mod webhooks;

pub use auth::Keyring;
pub use problem::Problem;

use crate::actors::Service;
use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};
use std::net::TcpListener;

/// The largest JSON body, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// What every handler can reach.
pub struct State {
    pub service: Service,
    pub keys: Keyring,
}

/// Serves the interface on a bound listener until the server is stopped.
pub fn serve(listener: TcpListener, state: State) -> std::io::Result<Server> {
    let state = web::Data::new(state);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .app_data(web::PayloadConfig::new(MAX_BODY))
            .app_data(
                web::QueryConfig::default()
                    .error_handler(|error, _| Problem::new(400, "invalid_query", format!("the query: {error}")).into()),
            )
            .configure(routes)
            .default_service(web::to(problem::no_route))
    });
    Ok(server.workers(2).shutdown_timeout(5).disable_signals().listen(listener)?.run())
}

fn routes(app: &mut web::ServiceConfig) {
    app.route("/healthz", web::get().to(health::live)).route("/readyz", web::get().to(health::ready));
    app.route("/metrics", web::get().to(health::metrics));
    linking::routes(app);
    app.service(
        web::scope("/v1")
            .route("/accounts", web::get().to(accounts::list))
            .route("/accounts", web::post().to(accounts::create))
            .route("/accounts/{account}", web::get().to(accounts::get))
            .route("/accounts/{account}", web::patch().to(accounts::change))
            .route("/accounts/{account}", web::delete().to(accounts::delete))
            .route("/accounts/{account}/contacts/{contact}", web::delete().to(accounts::erase_contact))
            .route("/accounts/{account}/start", web::post().to(accounts::start))
            .route("/accounts/{account}/stop", web::post().to(accounts::stop))
            .route("/accounts/{account}/restart", web::post().to(accounts::restart))
            .route("/accounts/{account}/logout", web::post().to(accounts::log_out))
            .route("/accounts/{account}/qr", web::get().to(qr::get))
            .route("/accounts/{account}/pairing-code", web::post().to(linking::pairing_code))
            .route("/accounts/{account}/passkey", web::get().to(linking::passkey))
            .route("/accounts/{account}/passkey", web::post().to(linking::assertion))
            .route("/accounts/{account}/passkey/confirm", web::post().to(linking::confirm))
            .route("/accounts/{account}/messages", web::post().to(messages::send))
            .route("/accounts/{account}/messages/{message}", web::get().to(messages::get))
            .route("/accounts/{account}/signal/prekeys/refresh", web::post().to(signal::refresh_prekeys))
            .route("/accounts/{account}/signal/rotate", web::post().to(signal::rotate))
            .route("/events", web::get().to(events::list))
            .route("/admin/keys/rotate-data", web::post().to(admin::rotate_data_keys))
            .route("/admin/backup", web::get().to(admin::backup))
            .route("/webhooks", web::get().to(webhooks::list))
            .route("/webhooks", web::post().to(webhooks::create))
            .route("/webhooks/{webhook}", web::get().to(webhooks::get))
            .route("/webhooks/{webhook}", web::delete().to(webhooks::delete)),
    );
}
