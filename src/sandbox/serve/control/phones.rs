//! Phones, and the people who hold them.

use super::{Answer, Refused, ask, parse};
use crate::sandbox::serve::WorldHost;
use crate::sandbox::world::{PasskeyPolicy, World, Writing};
use crate::wire::media::MediaKind;
use actix_web::{HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

/// A medium in base64, and what is around it.
const MAX_BODY: usize = 24 * 1024 * 1024;

pub(super) fn routes(app: &mut web::ServiceConfig) {
    let messages = web::resource("/phones/{number}/messages")
        .app_data(web::PayloadConfig::new(MAX_BODY))
        .route(web::post().to(write))
        .route(web::get().to(read));
    app.route("/phones", web::post().to(create_phone))
        .route("/phones", web::get().to(list_phones))
        .route("/phones/{number}", web::get().to(get_phone))
        .route("/phones/{number}/scan", web::post().to(scan))
        .route("/phones/{number}/enter-code", web::post().to(enter_code))
        .route("/phones/{number}/passkey", web::put().to(set_passkey))
        .route("/phones/{number}/passkey/sign", web::post().to(sign))
        .route("/phones/{number}/passkey/code", web::get().to(passkey_code))
        .route("/phones/{number}/passkey/code", web::post().to(decide))
        .route("/phones/{number}/tokens", web::put().to(require_tokens))
        .route("/phones/{number}/reinstall", web::post().to(reinstall))
        .route("/phones/{number}/companions/{device}", web::delete().to(unlink))
        .service(messages)
        .route("/admin/mock-phone/scan-qr", web::post().to(mock_scan))
        .route("/admin/mock-phone/enter-code", web::post().to(mock_enter_code));
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

async fn set_passkey(host: web::Data<WorldHost>, number: web::Path<String>, body: web::Bytes) -> Answer {
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

async fn passkey_code(host: web::Data<WorldHost>, number: web::Path<String>) -> Answer {
    let code = ask(&host, move |world| world.passkey_code(&number)).await??;
    Ok(HttpResponse::Ok().json(json!({ "code": code })))
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
    Ok(HttpResponse::Ok().json(json!({ "status": "entered" })))
}

/// A text, or one of the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    to: String,
    text: Option<String>,
    reaction: Option<NewReaction>,
    edit: Option<NewEdit>,
    revoke: Option<NewRevocation>,
    image: Option<NewMedium>,
    video: Option<NewMedium>,
    audio: Option<NewMedium>,
    document: Option<NewMedium>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewReaction {
    message_id: String,
    emoji: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEdit {
    message_id: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRevocation {
    message_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMedium {
    /// Base64.
    data: String,
    mime_type: Option<String>,
    file_name: Option<String>,
    caption: Option<String>,
}

impl NewMedium {
    fn into_writing(self, kind: MediaKind, default_type: &str) -> Result<Writing, Refused> {
        let data = STANDARD.decode(&self.data).map_err(|error| Refused {
            status: 400,
            code: "invalid_field",
            detail: format!("data is not base64: {error}"),
        })?;
        let mime_type = self.mime_type.unwrap_or_else(|| default_type.to_owned());
        Ok(Writing::Media { kind, data, mime_type, file_name: self.file_name, caption: self.caption })
    }
}

impl NewMessage {
    /// The recipient and the one thing that is written.
    fn into_writing(self) -> Result<(String, Writing), Refused> {
        let medium = |medium: Option<NewMedium>, kind, default_type| {
            medium.map(|medium| medium.into_writing(kind, default_type)).transpose()
        };
        let wanted = [
            self.text.map(Writing::Text),
            self.reaction.map(|it| Writing::Reaction { message_id: it.message_id, emoji: it.emoji }),
            self.edit.map(|it| Writing::Edit { message_id: it.message_id, text: it.text }),
            self.revoke.map(|it| Writing::Revoke { message_id: it.message_id }),
            medium(self.image, MediaKind::Image, "image/jpeg")?,
            medium(self.video, MediaKind::Video, "video/mp4")?,
            medium(self.audio, MediaKind::Audio, "audio/ogg; codecs=opus")?,
            medium(self.document, MediaKind::Document, "application/octet-stream")?,
        ];
        let mut wanted = wanted.into_iter().flatten();
        match (wanted.next(), wanted.next()) {
            (Some(only), None) => Ok((self.to, only)),
            _ => {
                let detail = "the body names one of text, reaction, edit, revoke, image, video, audio, document";
                Err(Refused { status: 400, code: "invalid_body", detail: detail.to_owned() })
            }
        }
    }
}

async fn write(host: web::Data<WorldHost>, number: web::Path<String>, body: web::Bytes) -> Answer {
    let (to, what) = parse::<NewMessage>(&body)?.into_writing()?;
    let id = ask(&host, move |world| world.write(&number, &to, what)).await??;
    Ok(HttpResponse::Created().json(json!({ "id": id })))
}

async fn read(host: web::Data<WorldHost>, number: web::Path<String>) -> Answer {
    let messages = ask(&host, move |world| world.phone_messages(&number).map(<[_]>::to_vec)).await??;
    Ok(HttpResponse::Ok().json(json!({ "data": messages, "next": null })))
}

#[derive(Deserialize)]
struct MockScan {
    phone: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct MockCode {
    phone: String,
    code: String,
}

async fn mock_enter_code(host: web::Data<WorldHost>, query: web::Query<MockCode>) -> Answer {
    let MockCode { phone, code } = query.into_inner();
    let phone = ask(&host, move |world| {
        world.create_phone(&phone, None)?;
        world.enter_code(&phone, &code)?;
        world.phone(&phone)
    })
    .await??;
    Ok(HttpResponse::Ok().json(phone))
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
