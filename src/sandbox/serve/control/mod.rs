//! The control API (`api.md`, "Sandbox control"): phones and what they write and read, groups, faults, the last stanzas, what
//! clients must trust.

mod faults;
mod groups;
mod phones;

use super::host::WorldHost;
use super::tls::Authority;
use crate::sandbox::world::{World, WorldError};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt;

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.configure(phones::routes)
        .configure(groups::routes)
        .configure(faults::routes)
        .route("/stanzas", web::get().to(stanzas))
        .route("/root-key", web::get().to(root_key))
        .route("/admin/root-key", web::get().to(root_key))
        .route("/media-ca", web::get().to(media_ca));
}

#[derive(Debug)]
pub(super) struct Refused {
    status: u16,
    code: &'static str,
    detail: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let title = status.canonical_reason();
        let body = json!({
            "type": "about:blank", "title": title, "status": self.status, "detail": self.detail, "code": self.code,
        });
        HttpResponse::build(status).content_type("application/problem+json").body(body.to_string())
    }
}

impl From<WorldError> for Refused {
    fn from(error: WorldError) -> Self {
        let (status, code) = match &error {
            WorldError::NoPhone(_) => (404, "phone_not_found"),
            WorldError::NoRecipient(_) => (404, "recipient_not_found"),
            WorldError::BadNumber(_) => (400, "invalid_field"),
            WorldError::BadQr(_) => (400, "invalid_qr"),
            WorldError::UnknownQr | WorldError::ForeignQr => (409, "qr_not_shown"),
            WorldError::NoDevices => (409, "no_devices"),
            WorldError::NoCodeRequest(_) => (409, "code_not_shown"),
            WorldError::BadCode(_) => (400, "invalid_code"),
            WorldError::NoCompanion(..) => (404, "companion_not_found"),
            WorldError::TooManyCompanions(_) => (409, "too_many_companions"),
            WorldError::NoGroup(_) => (404, "group_not_found"),
            WorldError::Refused(_) => (403, "refused"),
            WorldError::NotChanged(..) => (409, "participant_not_changed"),
            WorldError::NoMediaHost => (409, "no_media_host"),
            WorldError::MediaFull => (507, "media_full"),
            WorldError::Unreadable(_) => (500, "unreadable"),
        };
        Self { status, code, detail: error.to_string() }
    }
}

type Answer = Result<HttpResponse, Refused>;

/// Asks the world, whose end is the end of the sandbox.
async fn ask<R: Send + 'static>(
    host: &WorldHost,
    ask: impl FnOnce(&mut World) -> R + Send + 'static,
) -> Result<R, Refused> {
    let gone = Refused { status: 503, code: "sandbox_stopped", detail: "the sandbox is shutting down".into() };
    host.with(ask).await.ok_or(gone)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused {
        status: 400,
        code: "invalid_body",
        detail: format!("the body: {error}"),
    })
}

async fn stanzas(host: web::Data<WorldHost>) -> Answer {
    let stanzas = ask(&host, |world| world.stanzas().cloned().collect::<Vec<_>>()).await?;
    Ok(HttpResponse::Ok().json(json!({ "data": stanzas, "next": null })))
}

async fn root_key(host: web::Data<WorldHost>) -> Answer {
    let key = ask(&host, |world| hex::encode(world.root_key().as_bytes())).await?;
    Ok(HttpResponse::Ok().content_type("text/plain").body(key))
}

async fn media_ca(authority: Option<web::Data<Authority>>) -> Answer {
    let authority = authority.ok_or_else(|| Refused::from(WorldError::NoMediaHost))?;
    Ok(HttpResponse::Ok().content_type("application/x-pem-file").body(authority.pem()))
}

pub(super) async fn no_route(request: HttpRequest) -> Answer {
    let detail = format!("there is no {} {}", request.method(), request.path());
    Err(Refused { status: 404, code: "not_found", detail })
}
