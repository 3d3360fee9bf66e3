//! Messages, from the outside: what is to be sent, and how far it has come.

use crate::account::{Command, MessageRecord, Reply, SendRequest};
use crate::actors::error::ActorError as Error;
use crate::actors::fleet::calls::Call;
use crate::actors::service::state::Service;
use crate::base::ids::{AccountId, Fingerprint, MessageId};
use crate::wire::Jid;
use crate::wire::message::OutgoingText;

/// A text to be sent, as a caller writes it.
#[derive(Debug, Clone)]
pub struct SendText {
    pub to: String,
    pub body: String,
    pub quoted_id: Option<String>,
    pub mentions: Vec<String>,
    /// Whom a status is for.
    pub recipients: Vec<String>,
    pub idempotency: Option<Fingerprint>,
}

impl Service {
    pub async fn send(&self, id: &AccountId, text: SendText) -> Result<MessageRecord, Error> {
        self.disk.check_space()?;
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
        // Whose message is quoted is for the account to know.
        let outgoing = OutgoingText { body: text.body, quoted_id: text.quoted_id, quoted_participant: None, mentions };
        let request = SendRequest { to, recipients, text: outgoing, idempotency: text.idempotency };
        match self.ask(Call(id.clone(), Command::Send(Box::new(request)))).await?? {
            Reply::Accepted(record) => Ok(*record),
            Reply::Refused(refusal) => Err(refusal.into()),
            _ => Err(Error::Restarting),
        }
    }

    /// Offers the service a fresh batch of prekeys: now, or with the next login.
    pub async fn refresh_prekeys(&self, id: &AccountId) -> Result<(), Error> {
        match self.ask(Call(id.clone(), Command::RefreshPreKeys)).await?? {
            Reply::Refused(refusal) => Err(refusal.into()),
            _ => Ok(()),
        }
    }

    /// Drops our sender key for a group, or for status: the next message brings everybody a new one.
    pub async fn rotate_sender_key(&self, id: &AccountId, group: &str) -> Result<(), Error> {
        let group = Jid::parse_recipient(group).ok().filter(Jid::is_shared).ok_or_else(|| {
            let why = "must be a group's JID or status@broadcast".to_owned();
            Error::BadField { field: "group", why }
        })?;
        self.ask(Call(id.clone(), Command::RotateSenderKey(group))).await?.map(|_| ())
    }

    pub async fn message(&self, id: &AccountId, message: &str) -> Result<MessageRecord, Error> {
        match self.ask(Call(id.clone(), Command::Message(MessageId::new(message)))).await?? {
            Reply::Message(Some(record)) => Ok(*record),
            _ => Err(Error::NoMessage(message.to_owned())),
        }
    }
}

/// A person, as a field of a request names them.
fn person(field: &'static str, text: &str) -> Result<Jid, Error> {
    Jid::parse_recipient(text).map_err(|error| Error::BadField { field, why: error.to_string() })
}
