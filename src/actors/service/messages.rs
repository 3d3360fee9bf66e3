//! Sending of messages, and their status.

use crate::account::commands::{Groups, MessageRecord, Messages, PreKeyUploads, SendRequest, stored_message};
use crate::account::{Content, Text};
use crate::actors::error::ActorError as Error;
use crate::actors::service::state::Service;
use crate::base::ids::{AccountId, MessageId, RequestFingerprint};
use crate::wire::Jid;

/// A text message to send, as a caller writes it.
#[derive(Debug, Clone)]
pub struct SendText {
    pub to: String,
    pub body: String,
    pub quoted_id: Option<String>,
    pub mentions: Vec<String>,
    /// Recipients of a status.
    pub recipients: Vec<String>,
    pub idempotency: Option<RequestFingerprint>,
}

impl Service {
    pub async fn send(&self, id: &AccountId, text: SendText) -> Result<MessageRecord, Error> {
        self.disk.check_space()?;
        let idempotency = text.idempotency;
        let to =
            Jid::parse_recipient(&text.to).map_err(|error| Error::BadField { field: "to", why: error.to_string() })?;
        if !to.is_user() && !to.is_group() && to != Jid::status() {
            let why = "must be a phone number, a LID, a group or status@broadcast".to_owned();
            return Err(Error::BadField { field: "to", why });
        }
        let recipients =
            text.recipients.iter().map(|text| person("recipients", text)).collect::<Result<Vec<_>, _>>()?;
        if recipients.is_empty() == (to == Jid::status()) {
            let why = "are whom a status is for: required with status@broadcast, and only there".to_owned();
            return Err(Error::BadField { field: "recipients", why });
        }
        let mentions = text.mentions.iter().map(|text| Ok(person("mentions", text)?.to_string()));
        let mentions = mentions.collect::<Result<Vec<_>, Error>>()?;
        // The account knows the author of the quoted message.
        let text = Text { body: text.body, quoted_id: text.quoted_id, quoted_participant: None, mentions };
        let request = Box::new(SendRequest { to, recipients, content: Content::Text(text) });
        let send = |reply| Messages::Send { request, reply }.into();
        self.handle(id).call_once(idempotency, send).await
    }

    /// Uploads a fresh batch of prekeys: now, or after the next login.
    pub async fn refresh_prekeys(&self, id: &AccountId) -> Result<(), Error> {
        self.handle(id).call(|reply| PreKeyUploads::Refresh { reply }.into()).await
    }

    /// Drops our sender key for a group, or for status: the next message distributes a new one.
    pub async fn rotate_sender_key(&self, id: &AccountId, group: &str) -> Result<(), Error> {
        let group = Jid::parse_recipient(group).ok().filter(Jid::is_shared).ok_or_else(|| {
            let why = "must be a group's JID or status@broadcast".to_owned();
            Error::BadField { field: "group", why }
        })?;
        self.handle(id).call(|reply| Groups::RotateSenderKey { group, reply }.into()).await
    }

    pub async fn message(&self, id: &AccountId, message: &str) -> Result<MessageRecord, Error> {
        let wanted = MessageId::new(message);
        let found = self.handle(id).read(|store| stored_message(store, &wanted)).await?;
        found.ok_or_else(|| Error::NoMessage(message.to_owned()))
    }
}

/// Parses a person's address in a field of a request.
fn person(field: &'static str, text: &str) -> Result<Jid, Error> {
    Jid::parse_recipient(text).map_err(|error| Error::BadField { field, why: error.to_string() })
}
