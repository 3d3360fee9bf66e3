//! Text: plain as `conversation`; with a quote or a mention as extended text (`wire-protocol.md` 1.11).

use crate::wire::message::with_secret;
use crate::wire::proto::{ContextInfo, Message, message as fields};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};

pub(super) const KIND: &str = "text";

/// A text. Its JSON is stored in the first format of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Text {
    pub body: String,
    pub quoted_id: Option<String>,
    /// The author of the quoted message.
    pub quoted_participant: Option<String>,
    pub mentions: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct TextBody {
    pub(super) body: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct QuotedContext {
    pub(super) message_id: String,
}

impl Text {
    pub(super) fn to_message(&self, rng: &mut dyn CryptoRng) -> Message {
        if self.quoted_id.is_none() && self.mentions.is_empty() {
            return with_secret(Message { conversation: Some(self.body.clone()), ..Message::default() }, rng);
        }
        let info = ContextInfo {
            stanza_id: self.quoted_id.clone(),
            participant: self.quoted_participant.clone(),
            mentioned_jid: self.mentions.clone(),
        };
        let text = fields::ExtendedTextMessage { text: Some(self.body.clone()), context_info: Some(info) };
        with_secret(Message { extended_text_message: Some(text), ..Message::default() }, rng)
    }

    /// Takes the text out of a received message of this kind.
    pub(super) fn take(message: &mut Message) -> Option<Self> {
        if let Some(body) = message.conversation.take() {
            return Some(Self { body, ..Self::default() });
        }
        let text = message.extended_text_message.take()?;
        let info = text.context_info.unwrap_or_default();
        Some(Self {
            body: text.text.unwrap_or_default(),
            quoted_id: info.stanza_id.filter(|id| !id.is_empty()),
            quoted_participant: info.participant,
            mentions: info.mentioned_jid,
        })
    }
}
