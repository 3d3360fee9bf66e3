//! Events of received messages: `message.received`, `message.sent`, `message.undecryptable` (`api.md`).

use super::envelope::Envelope;
use super::unreadable::Unreadable;
use crate::account::content::Shown;
use crate::account::directory::addresses::{display_address, lid_of};
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::counter::Counter;
use crate::account::turn::event::Event;
use crate::wire::{Jid, Node, encode_node};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// The most bytes of a stanza in its event.
const MAX_BYTES: usize = 64 * 1024;

pub(in crate::account::messages) const RECEIVED: &str = Received::TYPE;
pub(in crate::account::messages) const SENT: &str = SentElsewhere::TYPE;
pub(in crate::account::messages) const UNDECRYPTABLE: &str = Undecryptable::TYPE;

#[derive(Serialize)]
struct MessageData {
    id: String,
    chat: String,
    from: String,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_lid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_name: Option<String>,
    #[serde(flatten)]
    content: Shown,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Received(MessageData);

impl Event for Received {
    const TYPE: &'static str = "message.received";

    fn chat(&self) -> &str {
        &self.0.chat
    }
}

/// Another device of ours sent it.
#[derive(Serialize)]
#[serde(transparent)]
struct SentElsewhere(MessageData);

impl Event for SentElsewhere {
    const TYPE: &'static str = "message.sent";

    fn chat(&self) -> &str {
        &self.0.chat
    }
}

#[derive(Serialize)]
struct Undecryptable {
    id: Option<String>,
    chat: String,
    from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    reason: String,
    /// The poison stanza: its bytes, bounded, and its full size.
    #[serde(skip_serializing_if = "Option::is_none")]
    stanza: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<usize>,
}

impl Event for Undecryptable {
    const TYPE: &'static str = "message.undecryptable";

    fn chat(&self) -> &str {
        &self.chat
    }
}

pub(super) async fn message(
    turn: &mut Turn<'_>,
    envelope: &Envelope,
    sent_to: Option<String>,
    content: Shown,
) -> Result<(), AccountError> {
    let destination = match sent_to.filter(|_| envelope.own) {
        Some(text) => Jid::parse(&text).unwrap_or_else(|_| envelope.chat.clone()),
        None => envelope.chat.clone(),
    };
    let data = MessageData {
        id: envelope.id.to_string(),
        chat: display_address(turn, &destination.bare()).await?,
        from: display_address(turn, &envelope.from.bare()).await?,
        timestamp: envelope.timestamp.rfc3339(),
        from_lid: lid_of(turn, &envelope.from.bare()).await?,
        from_name: envelope.name.clone(),
        content,
    };
    if envelope.own {
        turn.event(&SentElsewhere(data));
    } else {
        turn.event(&Received(data));
    }
    Ok(())
}

pub(super) async fn undecryptable(
    turn: &mut Turn<'_>,
    envelope: &Envelope,
    why: &Unreadable,
) -> Result<(), AccountError> {
    turn.count(Counter::Undecryptable);
    let reason = why.reason();
    tracing::warn!(account = %turn.ctx.id, from = %envelope.from.redacted(), reason, "message could not be decrypted");
    let event = Undecryptable {
        id: Some(envelope.id.to_string()),
        chat: display_address(turn, &envelope.chat).await?,
        from: display_address(turn, &envelope.from.bare()).await?,
        timestamp: Some(envelope.timestamp.rfc3339()),
        reason,
        stanza: None,
        size: None,
    };
    turn.event(&event);
    Ok(())
}

/// Reports a poison stanza. Must not call a child: the stanza may be what makes it panic.
pub(super) fn poison(turn: &mut Turn<'_>, node: &Node) {
    let bytes = encode_node(node);
    let chat = node.jid("from").map(|from| from.bare().to_string()).unwrap_or_default();
    let event = Undecryptable {
        id: node.text("id").map(|id| id.into_owned()),
        from: node.jid("participant").map_or_else(|| chat.clone(), |sender| sender.bare().to_string()),
        chat,
        timestamp: None,
        reason: "the stanza brought the account down twice".to_owned(),
        stanza: Some(STANDARD.encode(&bytes[..bytes.len().min(MAX_BYTES)])),
        size: Some(bytes.len()),
    };
    turn.event(&event);
}
