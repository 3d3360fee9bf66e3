//! Requests of existing clients' end-to-end suites: the phone is created if needed, its number follows from the client's name.

use super::answer::{Answer, ask};
use crate::sandbox::serve::host::WorldHost;
use crate::sandbox::world::World;
use actix_web::{HttpResponse, web};
use serde::Deserialize;

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route("/admin/mock-phone/scan-qr", web::post().to(scan))
        .route("/admin/mock-phone/enter-code", web::post().to(enter_code));
}

#[derive(Deserialize)]
struct Scan {
    phone: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct EnterCode {
    phone: String,
    code: String,
}

async fn enter_code(host: web::Data<WorldHost>, query: web::Query<EnterCode>) -> Answer {
    let EnterCode { phone, code } = query.into_inner();
    let phone = ask(&host, move |world| {
        world.create_phone(&phone, None)?;
        world.enter_code(&phone, &code)?;
        world.phone(&phone)
    })
    .await??;
    Ok(HttpResponse::Ok().json(phone))
}

async fn scan(host: web::Data<WorldHost>, query: web::Query<Scan>, body: web::Bytes) -> Answer {
    let qr = String::from_utf8_lossy(&body).into_owned();
    let Scan { phone, name } = query.into_inner();
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
