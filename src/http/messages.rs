//! `/v1/accounts/{account}/messages`: the shape of the official Cloud API's message object.

use super::accounts::id_of;
use super::auth::Admin;
use super::body::{self, Body};
use super::problem::Problem;
use super::{State, idempotency};
use crate::account::commands::MessageRecord;
use crate::actors::SendText;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

/// WhatsApp's limit of a text, in characters.
const MAX_TEXT: usize = 65_536;
const MAX_MENTIONS: usize = 1024;
/// Of a status.
const MAX_READERS: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    to: String,
    #[serde(rename = "type", default = "text_type")]
    kind: String,
    text: Option<Text>,
    context: Option<Context>,
    #[serde(default)]
    mentions: Vec<String>,
    #[serde(default)]
    recipients: Vec<String>,
}

fn text_type() -> String {
    "text".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    body: String,
    /// Taken for compatibility; previews are not made yet.
    #[serde(default, rename = "preview_url")]
    _preview_url: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Context {
    message_id: String,
}

pub(super) async fn send(
    admin: Admin,
    state: web::Data<State>,
    request: HttpRequest,
    path: web::Path<String>,
    Body(bytes): Body,
) -> Result<HttpResponse, Problem> {
    let id = id_of(&path)?;
    let idempotency = idempotency::fingerprint(&request, &admin, &bytes)?;
    let new: NewMessage = body::read(&bytes)?;
    if new.kind != "text" {
        return Err(Problem::field("type", format!("{:?} cannot be sent yet; only \"text\" can", new.kind)));
    }
    let text = new.text.ok_or_else(|| Problem::field("text", "is required when type is \"text\""))?;
    if text.body.is_empty() || text.body.chars().count() > MAX_TEXT {
        return Err(Problem::field("text.body", format!("must have 1 to {MAX_TEXT} characters")));
    }
    if new.mentions.len() > MAX_MENTIONS {
        return Err(Problem::field("mentions", format!("must be {MAX_MENTIONS} or fewer")));
    }
    if new.recipients.len() > MAX_READERS {
        return Err(Problem::field("recipients", format!("must be {MAX_READERS} or fewer")));
    }
    let quoted_id = new.context.map(|context| context.message_id);
    let text = SendText {
        to: new.to,
        body: text.body,
        quoted_id,
        mentions: new.mentions,
        recipients: new.recipients,
        idempotency,
    };
    let record = state.service.send(&id, text).await?;
    Ok(HttpResponse::Accepted().json(json!({
        "id": record.id,
        "status": "queued",
        "to": record.to,
        "type": record.kind,
        "created_at": record.created_at.rfc3339(),
    })))
}

pub(super) async fn get(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (account, message) = path.into_inner();
    let record = state.service.message(&id_of(&account)?, &message).await?;
    Ok(HttpResponse::Ok().json(render(&record)))
}

fn render(record: &MessageRecord) -> Value {
    let recipients = record
        .recipients
        .iter()
        .map(|recipient| json!({ "jid": recipient.jid, "status": recipient.status, "at": recipient.at.rfc3339() }));
    let mut message = json!({
        "id": record.id,
        "status": record.status,
        "to": record.to,
        "type": record.kind,
        "text": { "body": record.text },
        "created_at": record.created_at.rfc3339(),
        "recipients": recipients.collect::<Vec<_>>(),
    });
    if let Some((code, meaning)) = &record.failure {
        message["code"] = json!(code);
        message["meaning"] = json!(meaning);
    }
    message
}
