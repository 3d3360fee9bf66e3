//! `POST /v1/accounts/{account}/messages`: the shape of the official Cloud API's message object.

use super::status::status_schema;
use crate::account::commands::{MessageRecord, MessageStatus, Messages, SendRequest};
use crate::account::{Contact, Content, Recipient, Text};
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::extract::json::Json;
use crate::http::extract::once::{Once, OnceHeader};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{post, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// WhatsApp's limit of a text, in characters.
const MAX_TEXT: usize = 65_536;
const MAX_MENTIONS: usize = 1024;
/// Recipients of a status.
const MAX_RECIPIENTS: usize = 1024;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    /// A phone number, a JID or a LID of a person, a group's JID, or `status@broadcast`.
    #[schema(example = "15550002222")]
    to: String,
    /// `text`, which is the default.
    #[serde(rename = "type", default = "text_type")]
    #[schema(pattern = "^text$", default = "text")]
    kind: String,
    /// Required where `type` is `text`.
    text: Option<NewText>,
    context: Option<NewContext>,
    /// The people that the text mentions.
    #[serde(default)]
    #[schema(max_items = 1024)]
    mentions: Vec<String>,
    /// The people that a status is for: required with `status@broadcast`, refused elsewhere.
    #[serde(default)]
    #[schema(max_items = 1024)]
    recipients: Vec<String>,
}

fn text_type() -> String {
    "text".to_owned()
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewText {
    #[schema(min_length = 1, max_length = 65_536)]
    body: String,
    /// Accepted for compatibility; previews are not generated.
    #[serde(default, rename = "preview_url")]
    _preview_url: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewContext {
    /// The message that is replied to.
    message_id: String,
}

impl NewMessage {
    /// Checks the limits that the schema states.
    fn into_request(self) -> Result<SendRequest, Problem> {
        if self.kind != "text" {
            return Err(Problem::field("type", format!("{:?} cannot be sent yet; only \"text\" can", self.kind)));
        }
        let text = self.text.ok_or_else(|| Problem::field("text", "is required when type is \"text\""))?;
        if text.body.is_empty() || text.body.chars().count() > MAX_TEXT {
            return Err(Problem::field("text.body", format!("must have 1 to {MAX_TEXT} characters")));
        }
        if self.mentions.len() > MAX_MENTIONS {
            return Err(Problem::field("mentions", format!("must be {MAX_MENTIONS} or fewer")));
        }
        if self.recipients.len() > MAX_RECIPIENTS {
            return Err(Problem::field("recipients", format!("must be {MAX_RECIPIENTS} or fewer")));
        }
        let to: Recipient = self.to.parse().map_err(|error| Problem::field("to", error))?;
        let mentions = contacts("mentions", &self.mentions)?.iter().map(Contact::to_string).collect();
        let quoted_id = self.context.map(|context| context.message_id);
        // The account knows the author of the quoted message.
        let text = Text { body: text.body, quoted_id, quoted_participant: None, mentions };
        SendRequest::new(to, contacts("recipients", &self.recipients)?, Content::Text(text))
            .map_err(|error| Problem::field("recipients", error))
    }
}

fn contacts(field: &str, texts: &[String]) -> Result<Vec<Contact>, Problem> {
    texts.iter().map(|text| text.parse().map_err(|error| Problem::field(field, error))).collect()
}

#[derive(Serialize, ToSchema)]
struct AcceptedMessage {
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(example = "3EB0C431C26A1916E07A")]
    id: String,
    #[schema(schema_with = status_schema)]
    status: MessageStatus,
    to: String,
    #[serde(rename = "type")]
    kind: String,
}

impl From<MessageRecord> for AcceptedMessage {
    fn from(record: MessageRecord) -> Self {
        let (created_at, id) = (record.created_at.rfc3339(), record.id.to_string());
        Self { created_at, id, status: MessageStatus::Queued, to: record.to, kind: record.kind }
    }
}

/// Accepts a message. The 202 means that it is durable; its status is told by events and by `GET`.
#[utoipa::path(tag = "messages", security(("key" = [])), params(AccountPath, OnceHeader), request_body = NewMessage,
    responses((status = 202, body = AcceptedMessage), Problems))]
#[post("/accounts/{account}/messages")]
pub(super) async fn send(
    _: Caller,
    state: web::Data<State>,
    Account(account): Account,
    once: Once,
    Json(message): Json<NewMessage>,
) -> Result<Answer<AcceptedMessage>, Problem> {
    state.service.check_space()?;
    let request = Box::new(message.into_request()?);
    let send = |reply| Messages::Send { request, reply }.into();
    let record = account.call_once(once.fingerprint(), send).await?;
    Ok(Answer::accepted(record.into()))
}
