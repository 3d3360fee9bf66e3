//! The routes, and the server that serves them.

use crate::http::extract::json::MAX_BODY;
use crate::http::problem::Problem;
use crate::http::state::State;
use crate::http::{accounts, admin, contacts, events, linking, messages, problem, signal, webhooks};
use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};
use std::net::TcpListener;

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
    app.route("/healthz", web::get().to(admin::health::live)).route("/readyz", web::get().to(admin::health::ready));
    app.route("/metrics", web::get().to(admin::health::metrics));
    linking::page::routes(app);
    app.service(
        web::scope("/v1")
            .route("/accounts", web::get().to(accounts::list::list))
            .route("/accounts", web::post().to(accounts::create::create))
            .route("/accounts/{account}", web::get().to(accounts::get::get))
            .route("/accounts/{account}", web::patch().to(accounts::change::change))
            .route("/accounts/{account}", web::delete().to(accounts::delete::delete))
            .route("/accounts/{account}/contacts/{contact}", web::delete().to(contacts::erase::erase_contact))
            .route("/accounts/{account}/start", web::post().to(accounts::start::start))
            .route("/accounts/{account}/stop", web::post().to(accounts::stop::stop))
            .route("/accounts/{account}/restart", web::post().to(accounts::restart::restart))
            .route("/accounts/{account}/logout", web::post().to(accounts::log_out::log_out))
            .route("/accounts/{account}/qr", web::get().to(linking::qr::get))
            .route("/accounts/{account}/pairing-code", web::post().to(linking::pairing_code::pairing_code))
            .route("/accounts/{account}/passkey", web::get().to(linking::passkey::passkey))
            .route("/accounts/{account}/passkey", web::post().to(linking::passkey::assertion))
            .route("/accounts/{account}/passkey/confirm", web::post().to(linking::passkey::confirm))
            .route("/accounts/{account}/messages", web::post().to(messages::send::send))
            .route("/accounts/{account}/messages/{message}", web::get().to(messages::get::get))
            .route(
                "/accounts/{account}/signal/prekeys/refresh",
                web::post().to(signal::refresh_prekeys::refresh_prekeys),
            )
            .route("/accounts/{account}/signal/rotate", web::post().to(signal::rotate::rotate))
            .route("/events", web::get().to(events::list::list))
            .route("/admin/keys/rotate-data", web::post().to(admin::rotate_data_keys::rotate_data_keys))
            .route("/admin/backup", web::get().to(admin::backup::backup))
            .route("/webhooks", web::get().to(webhooks::list::list))
            .route("/webhooks", web::post().to(webhooks::create::create))
            .route("/webhooks/{webhook}", web::get().to(webhooks::get::get))
            .route("/webhooks/{webhook}", web::delete().to(webhooks::delete::delete)),
    );
}
