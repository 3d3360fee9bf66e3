//! The sandbox with sockets: `/ws/chat` for clients and the control API on one port, the media host on another.

mod control;
mod host;
mod media;
mod socket;
mod tls;

pub use host::WorldHost;
pub use tls::{Authority, TlsError};

use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};
use rustls::ServerConfig;
use std::net::TcpListener;
use std::sync::Arc;

/// Options of every server here. A macro, as actix does not name the types of its servers.
macro_rules! with_options {
    ($server:expr) => {
        $server.workers(1).shutdown_timeout(1).disable_signals().tcp_nodelay(true)
    };
}

/// Serves the world on a bound listener until the server is stopped; over TLS if given.
pub fn serve(
    listener: TcpListener,
    host: WorldHost,
    authority: Option<Arc<Authority>>,
    tls: Option<ServerConfig>,
) -> std::io::Result<Server> {
    let (host, authority) = (web::Data::new(host), authority.map(web::Data::from));
    let server = with_options!(HttpServer::new(move || {
        let app = match &authority {
            Some(authority) => App::new().app_data(authority.clone()),
            None => App::new(),
        };
        app.app_data(host.clone())
            .app_data(web::PayloadConfig::new(256 * 1024))
            .route("/ws/chat", web::get().to(socket::accept))
            .configure(control::routes)
    }));
    let server = match tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls)?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

/// Serves the media host.
pub fn serve_media(listener: TcpListener, host: WorldHost, tls: ServerConfig) -> std::io::Result<Server> {
    let (host, partial) = (web::Data::new(host), web::Data::new(media::Partial::default()));
    let server = with_options!(HttpServer::new(move || {
        App::new().app_data(host.clone()).app_data(partial.clone()).configure(media::routes)
    }));
    Ok(server.listen_rustls_0_23(listener, tls)?.run())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;
    use tokio::sync::mpsc;

    #[actix_web::test]
    async fn accepted_sockets_send_small_frames_without_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, mut seen) = mpsc::unbounded_channel();
        let server = with_options!(HttpServer::new(App::new)).on_connect(move |socket, _| {
            accepted.send(socket.downcast_ref::<TcpStream>().unwrap().nodelay().unwrap()).unwrap();
        });
        let server = server.listen(listener).unwrap().run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let client = TcpStream::connect(address).await.unwrap();
        assert!(seen.recv().await.unwrap());
        drop(client);
        handle.stop(false).await;
    }
}
