//! Passkeys of people: policy, virtual authenticator, the code on the phone.

use super::answer::{Answer, ask, parse};
use crate::sandbox::serve::host::WorldHost;
use crate::sandbox::world::PasskeyPolicy;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route("/phones/{number}/passkey", web::put().to(set))
        .route("/phones/{number}/passkey/sign", web::post().to(sign))
        .route("/phones/{number}/passkey/code", web::get().to(code))
        .route("/phones/{number}/passkey/code", web::post().to(decide));
}

async fn set(host: web::Data<WorldHost>, number: web::Path<String>, body: web::Bytes) -> Answer {
    let policy: PasskeyPolicy = parse(&body)?;
    ask(&host, move |world| world.set_passkey(&number, policy)).await??;
    Ok(HttpResponse::NoContent().finish())
}

/// The person's virtual authenticator: WebAuthn request options in, the assertion out.
async fn sign(host: web::Data<WorldHost>, number: web::Path<String>, body: web::Bytes) -> Answer {
    let options: Value = parse(&body)?;
    let assertion = ask(&host, move |world| world.sign_with_passkey(&number, &options)).await??;
    Ok(HttpResponse::Ok().json(assertion))
}

#[derive(Serialize)]
struct ShownCode {
    code: String,
}

async fn code(host: web::Data<WorldHost>, number: web::Path<String>) -> Answer {
    let code = ask(&host, move |world| world.passkey_code(&number)).await??;
    Ok(HttpResponse::Ok().json(ShownCode { code }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    accept: bool,
}

async fn decide(host: web::Data<WorldHost>, number: web::Path<String>, body: web::Bytes) -> Answer {
    let Decision { accept } = parse(&body)?;
    ask(&host, move |world| world.decide_passkey(&number, accept)).await??;
    Ok(HttpResponse::NoContent().finish())
}
