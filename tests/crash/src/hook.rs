//! The webhook of the bot: it accepts and records every delivery.

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub struct Inbox {
    /// Bodies by event id.
    pub events: HashMap<String, Vec<u8>>,
    /// Event ids as they came first, by account and chat.
    pub order: Vec<String>,
    pub repeated: usize,
    pub violations: Vec<String>,
}

pub fn serve(inbox: Arc<Mutex<Inbox>>) -> std::io::Result<SocketAddr> {
    let server =
        HttpServer::new(move || App::new().app_data(web::Data::from(inbox.clone())).default_service(web::to(accept)));
    let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0))?;
    let address = server.addrs()[0];
    actix_web::rt::spawn(server.run());
    Ok(address)
}

async fn accept(inbox: web::Data<Mutex<Inbox>>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let id = request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let mut inbox = inbox.lock().unwrap();
    match inbox.events.get(&id).map(|before| before == &body) {
        None => {
            inbox.events.insert(id.clone(), body.to_vec());
            inbox.order.push(id);
        }
        Some(true) => inbox.repeated += 1,
        Some(false) => inbox.violations.push(format!("event {id} was delivered with two bodies")),
    }
    HttpResponse::NoContent().finish()
}
