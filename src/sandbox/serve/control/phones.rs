//! Phones: created, shown, linked, reinstalled.

use super::answer::{Answer, ask, page, parse};
use crate::sandbox::serve::host::WorldHost;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route("/phones", web::post().to(create))
        .route("/phones", web::get().to(list))
        .route("/phones/{number}", web::get().to(get))
        .route("/phones/{number}/scan", web::post().to(scan))
        .route("/phones/{number}/enter-code", web::post().to(enter_code))
        .route("/phones/{number}/tokens", web::put().to(require_tokens))
        .route("/phones/{number}/reinstall", web::post().to(reinstall))
        .route("/phones/{number}/companions/{device}", web::delete().to(unlink));
}

/// What the person has done.
#[derive(Serialize)]
struct Done {
    status: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPhone {
    number: String,
    name: Option<String>,
}

async fn create(host: web::Data<WorldHost>, body: web::Bytes) -> Answer {
    let NewPhone { number, name } = parse(&body)?;
    let phone = ask(&host, move |world| world.create_phone(&number, name.as_deref())).await??;
    Ok(HttpResponse::Created().json(phone))
}

async fn list(host: web::Data<WorldHost>) -> Answer {
    page(ask(&host, |world| world.phones()).await?)
}

async fn get(host: web::Data<WorldHost>, number: web::Path<String>) -> Answer {
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
    Ok(HttpResponse::Ok().json(Done { status: "scanned" }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Required {
    required: bool,
}

async fn require_tokens(host: web::Data<WorldHost>, number: web::Path<String>, body: web::Bytes) -> Answer {
    let Required { required } = parse(&body)?;
    ask(&host, move |world| world.require_tokens(&number, required)).await??;
    Ok(HttpResponse::NoContent().finish())
}

async fn reinstall(host: web::Data<WorldHost>, number: web::Path<String>) -> Answer {
    ask(&host, move |world| world.reinstall(&number)).await??;
    Ok(HttpResponse::NoContent().finish())
}

async fn unlink(host: web::Data<WorldHost>, path: web::Path<(String, u16)>) -> Answer {
    let (number, device) = path.into_inner();
    ask(&host, move |world| world.unlink(&number, device)).await??;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnterCode {
    code: String,
}

async fn enter_code(host: web::Data<WorldHost>, number: web::Path<String>, body: web::Bytes) -> Answer {
    let EnterCode { code } = parse(&body)?;
    ask(&host, move |world| world.enter_code(&number, &code)).await??;
    Ok(HttpResponse::Ok().json(Done { status: "entered" }))
}
