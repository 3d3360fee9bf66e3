//! `POST /v1/accounts/{account}/messages`: the shape of the official Cloud API's message object.

use crate::actors::SendText;
use crate::http::auth::caller::Admin;
use crate::http::extract::account::id_of;
use crate::http::extract::json as body;
use crate::http::extract::json::Body;
use crate::http::extract::once as idempotency;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

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

pub(in crate::http) async fn send(
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
