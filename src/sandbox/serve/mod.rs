//! The sandbox with sockets: `/ws/chat` for clients, and the control API, on one port.

mod control;
mod host;
mod socket;

pub use host::WorldHost;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};
use std::net::TcpListener;

/// Serves the world on a bound listener until the server is stopped.
pub fn serve(listener: TcpListener, host: WorldHost) -> std::io::Result<Server> {
    let host = web::Data::new(host);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(host.clone())
            .app_data(web::PayloadConfig::new(256 * 1024))
            .route("/ws/chat", web::get().to(socket::accept))
            .configure(control::routes)
            .default_service(web::to(control::no_route))
    });
    Ok(server.workers(1).shutdown_timeout(1).disable_signals().listen(listener)?.run())
}
