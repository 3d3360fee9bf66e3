//! `GET /v1/accounts/{account}/messages/{message}`.

use super::status::status_schema;
use crate::account::commands::{MessageRecord, MessageStatus};
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account::{Account, AccountPath};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
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
    state: web::Data<State>,
    Account(id): Account,
    path: web::Path<MessagePath>,
) -> Result<Answer<MessageBody>, Problem> {
    let record = state.service.message(&id, &path.message).await?;
    Ok(Answer::ok(record.into()))
}
