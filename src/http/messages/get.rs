//! `GET /v1/accounts/{account}/messages/{message}`.

use super::status::status_schema;
use crate::account::commands::{MessageRecord, MessageStatus, stored_message};
use crate::base::ids::MessageId;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::problem::{Problem, Problems};
use actix_web::{get, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct MessagePath {
    /// The id that the accepted message got.
    message: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
struct MessageBody {
    /// Why the message failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<String>,
    recipients: Vec<RecipientBody>,
    /// The highest status that any recipient reached.
    #[schema(schema_with = status_schema)]
    status: MessageStatus,
    text: TextBody,
    to: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Text)]
struct TextBody {
    body: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Recipient)]
struct RecipientBody {
    #[schema(format = DateTime)]
    at: String,
    jid: String,
    #[schema(schema_with = status_schema)]
    status: MessageStatus,
}

impl From<MessageRecord> for MessageBody {
    fn from(record: MessageRecord) -> Self {
        let recipients = record.recipients.into_iter().map(|recipient| RecipientBody {
            at: recipient.at.rfc3339(),
            jid: recipient.jid,
            status: recipient.status,
        });
        let (code, meaning) = record.failure.unzip();
        Self {
            code,
            created_at: record.created_at.rfc3339(),
            id: record.id.to_string(),
            meaning,
            recipients: recipients.collect(),
            status: record.status,
            text: TextBody { body: record.text },
            to: record.to,
            kind: record.kind,
        }
    }
}

/// Shows a message of ours and its status with each recipient.
#[utoipa::path(tag = "messages", security(("key" = [])), params(AccountPath, MessagePath),
    responses((status = 200, body = MessageBody), Problems))]
#[get("/accounts/{account}/messages/{message}")]
pub(super) async fn show(
    _: Caller,
    Account(account): Account,
    path: web::Path<MessagePath>,
) -> Result<Answer<MessageBody>, Problem> {
    let id = MessageId::new(path.message.as_str());
    let record = account.read(|store| stored_message(store, &id)).await?;
    let unknown =
        || Problem::new(404, "message_not_found", format!("there is no message {:?} of this account", id.as_str()));
    let record = record.ok_or_else(unknown)?;
    Ok(Answer::ok(record.into()))
}
