//! Content of messages: one file a kind, each with its protobuf, its stanza type, and its JSON in events.

pub(in crate::account) mod text;

use crate::wire::message::{Decoded, History};
use crate::wire::proto::Message;
use rand::CryptoRng;
use serde::Serialize;
use text::{QuotedContext, Text, TextBody};

/// The content of an outgoing message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Text(Text),
}

impl Content {
    /// The kind's name in requests, records and events.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => text::KIND,
        }
    }

    /// The text that is shown for it.
    pub fn shown_text(&self) -> &str {
        match self {
            Self::Text(text) => &text.body,
        }
    }

    /// The quoted message.
    pub(in crate::account) fn quoted_id(&self) -> Option<&str> {
        match self {
            Self::Text(text) => text.quoted_id.as_deref(),
        }
    }

    /// Names the author of the quoted message.
    pub(in crate::account) fn set_quoted_participant(&mut self, author: Option<String>) {
        match self {
            Self::Text(text) => text.quoted_participant = author,
        }
    }

    /// The protobuf, with a fresh secret for later add-ons.
    pub(in crate::account) fn to_message(&self, rng: &mut dyn CryptoRng) -> Message {
        match self {
            Self::Text(text) => text.to_message(rng),
        }
    }
}

/// The `type` of the stanza that carries a kind (`wire-protocol.md` 1.11).
pub(in crate::account) fn stanza_type(_kind: &str) -> &'static str {
    "text"
}

/// A received message.
#[derive(Debug, PartialEq)]
pub(in crate::account) enum Incoming {
    /// Content for a person.
    Content(Shown),
    /// Bookkeeping between devices; `history` when it carries a part of the history.
    Protocol { history: Option<History> },
}

/// The part of an event that depends on the kind.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(in crate::account) struct Shown {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<TextBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<QuotedContext>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mentions: Vec<String>,
}

/// Reads a decoded message.
pub(in crate::account) fn read(decoded: Decoded) -> Incoming {
    let Decoded { sender_key, mut message, .. } = decoded;
    if let Some(protocol) = message.protocol_message {
        let history = protocol.history_sync_notification;
        return Incoming::Protocol { history: history.map(|it| History(it.initial_hist_bootstrap_inline_payload)) };
    }
    if let Some(text) = Text::take(&mut message) {
        let Text { body, quoted_id, mentions, .. } = text;
        let context = quoted_id.map(|message_id| QuotedContext { message_id });
        return Incoming::Content(Shown { kind: text::KIND, text: Some(TextBody { body }), context, mentions });
    }
    if sender_key.is_some() && message == Message::default() {
        return Incoming::Protocol { history: None };
    }
    Incoming::Content(Shown { kind: "unsupported", ..Shown::default() })
}
