//! The control API (`api.md`, "Sandbox control"): phones, what they write and read, the last stanzas, the root key.

use super::host::WorldHost;
use crate::base::time::Timestamp;
use crate::sandbox::world::{FaultKind, NewFault, World, WorldError};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt;

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route("/phones", web::post().to(create_phone))
        .route("/phones", web::get().to(list_phones))
        .route("/phones/{number}", web::get().to(get_phone))
        .route("/phones/{number}/scan", web::post().to(scan))
        .route("/phones/{number}/messages", web::post().to(write))
        .route("/phones/{number}/messages", web::get().to(read))
        .route("/stanzas", web::get().to(stanzas))
        .route("/faults", web::post().to(add_fault))
        .route("/faults", web::get().to(list_faults))
        .route("/faults", web::delete().to(clear_faults))
        .route("/root-key", web::get().to(root_key))
        .route("/admin/root-key", web::get().to(root_key))
        .route("/admin/mock-phone/scan-qr", web::post().to(mock_scan));
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPhone {
    number: String,
    name: Option<String>,
}

async fn create_phone(host: web::Data<WorldHost>, body: web::Bytes) -> Answer {
    let NewPhone { number, name } = parse(&body)?;
    let phone = ask(&host, move |world| world.create_phone(&number, name.as_deref())).await??;
    Ok(HttpResponse::Created().json(phone))
}

async fn list_phones(host: web::Data<WorldHost>) -> Answer {
    let phones = ask(&host, |world| world.phones()).await?;
    Ok(HttpResponse::Ok().json(json!({ "data": phones, "next": null })))
}

async fn get_phone(host: web::Data<WorldHost>, number: web::Path<String>) -> Answer {
    let phone = ask(&host, move |world| world.phone(&number)).await??;
    Ok(HttpResponse::Ok().json(phone))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scan {
    qr: String,
}

async fn scan(host: web::Data<WorldHost>, number: web::Path<String>, body: web::Bytes) -> Answer {
    let Scan { qr } = parse(&body)?;
    ask(&host, move |world| world.scan(&number, &qr)).await??;
    Ok(HttpResponse::Ok().json(json!({ "status": "scanned" })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewText {
    to: String,
    text: String,
}

async fn write(host: web::Data<WorldHost>, number: web::Path<String>, body: web::Bytes) -> Answer {
    let NewText { to, text } = parse(&body)?;
    let id = ask(&host, move |world| world.write_text(&number, &to, &text)).await??;
    Ok(HttpResponse::Created().json(json!({ "id": id })))
}

async fn read(host: web::Data<WorldHost>, number: web::Path<String>) -> Answer {
    let messages = ask(&host, move |world| world.phone_messages(&number).map(<[_]>::to_vec)).await??;
    Ok(HttpResponse::Ok().json(json!({ "data": messages, "next": null })))
}

/// The kind with its own fields, and whom it concerns, how often or how long.
async fn add_fault(host: web::Data<WorldHost>, body: web::Bytes) -> Answer {
    let invalid = |detail: String| Refused { status: 400, code: "invalid_body", detail };
    let mut fields: serde_json::Map<String, Value> = parse(&body)?;
    let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_null());
    let text = |value: Value| value.as_str().map(str::to_owned);
    let until = take("until").map(|at| text(at).and_then(|at| Timestamp::parse(&at)).ok_or("until"));
    let account = take("account").map(|account| text(account).ok_or("account"));
    let count = take("count").map(|count| count.as_u64().and_then(|count| u32::try_from(count).ok()).ok_or("count"));
    let seed = take("seed").map(|seed| seed.as_u64().ok_or("seed"));
    let unreadable = |field: &str| invalid(format!("the body: {field} cannot be read"));
    let (until, account) = (until.transpose().map_err(unreadable)?, account.transpose().map_err(unreadable)?);
    let (count, seed) = (count.transpose().map_err(unreadable)?, seed.transpose().map_err(unreadable)?);
    let of_kind = fields.clone();
    let kind: FaultKind =
        serde_json::from_value(Value::Object(fields)).map_err(|error| invalid(format!("the body: {error}")))?;
    let known = serde_json::to_value(kind).unwrap_or_default();
    if let Some(unknown) = of_kind.keys().find(|field| known.get(field.as_str()).is_none()) {
        return Err(invalid(format!("the body: this kind of fault has no {unknown}")));
    }
    let fault = NewFault { kind, account, count, until, seed: seed.unwrap_or_default() };
    let added = ask(&host, move |world| world.add_fault(fault)).await?;
    Ok(HttpResponse::Created().json(added))
}

async fn list_faults(host: web::Data<WorldHost>) -> Answer {
    let faults = ask(&host, |world| world.faults()).await?;
    Ok(HttpResponse::Ok().json(json!({ "data": faults, "next": null })))
}

async fn clear_faults(host: web::Data<WorldHost>) -> Answer {
    ask(&host, World::clear_faults).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn stanzas(host: web::Data<WorldHost>) -> Answer {
    let stanzas = ask(&host, |world| world.stanzas().cloned().collect::<Vec<_>>()).await?;
    Ok(HttpResponse::Ok().json(json!({ "data": stanzas, "next": null })))
}

async fn root_key(host: web::Data<WorldHost>) -> Answer {
    let key = ask(&host, |world| hex::encode(world.root_key().as_bytes())).await?;
    Ok(HttpResponse::Ok().content_type("text/plain").body(key))
}

#[derive(Deserialize)]
struct MockScan {
    phone: Option<String>,
    name: Option<String>,
}

/// What existing client test suites call: the phone is created where needed, its number follows from the client's name.
async fn mock_scan(host: web::Data<WorldHost>, query: web::Query<MockScan>, body: web::Bytes) -> Answer {
    let qr = String::from_utf8_lossy(&body).into_owned();
    let MockScan { phone, name } = query.into_inner();
    let phone = ask(&host, move |world| {
        let name = name.or(world.push_name_of(&qr)?);
        let number = phone.unwrap_or_else(|| World::number_for_name(name.as_deref().unwrap_or_default()));
        world.create_phone(&number, name.as_deref())?;
        world.scan(&number, &qr)?;
        world.phone(&number)
    })
    .await??;
    Ok(HttpResponse::Ok().json(phone))
}

pub(super) async fn no_route(request: HttpRequest) -> Answer {
    let detail = format!("there is no {} {}", request.method(), request.path());
    Err(Refused { status: 404, code: "not_found", detail })
}
