//! The service: its last stanzas, and the keys that clients must trust.

use super::answer::{Answer, Problem, ask, page};
use crate::sandbox::serve::host::WorldHost;
use crate::sandbox::serve::tls::Authority;
use crate::sandbox::world::WorldError;
use actix_web::{HttpRequest, HttpResponse, web};

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route("/stanzas", web::get().to(stanzas))
        .route("/root-key", web::get().to(root_key))
        .route("/admin/root-key", web::get().to(root_key))
        .route("/media-ca", web::get().to(media_ca));
}

async fn stanzas(host: web::Data<WorldHost>) -> Answer {
    page(ask(&host, |world| world.stanzas().cloned().collect()).await?)
}

async fn root_key(host: web::Data<WorldHost>) -> Answer {
    let key = ask(&host, |world| hex::encode(world.root_key().as_bytes())).await?;
    Ok(HttpResponse::Ok().content_type("text/plain").body(key))
}

async fn media_ca(authority: Option<web::Data<Authority>>) -> Answer {
    let authority = authority.ok_or_else(|| Problem::from(WorldError::NoMediaHost))?;
    Ok(HttpResponse::Ok().content_type("application/x-pem-file").body(authority.pem()))
}

pub(super) async fn no_route(request: HttpRequest) -> Answer {
    Err(Problem::new(404, "not_found", format!("there is no {} {}", request.method(), request.path())))
}
