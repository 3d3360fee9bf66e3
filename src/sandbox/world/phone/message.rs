//! Messages as a phone lists them.

use crate::base::time::Timestamp;
use crate::sandbox::world::rfc3339;
use crate::signal::SignalError;
use crate::wire::Jid;
use serde::Serialize;

/// Kinds of messages that can be read.
pub(in crate::sandbox::world) const KINDS: [&str; 9] =
    ["text", "image", "video", "audio", "document", "sticker", "reaction", "edit", "revoke"];
/// A message that cannot be decrypted, until it is resent.
pub(in crate::sandbox::world) const UNDECRYPTABLE: &str = "undecryptable";

/// A message that a phone has received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhoneMessage {
    pub id: String,
    pub chat: String,
    pub from: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub text: Option<String>,
    /// The message that a reaction, an edit or a revocation is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<PhoneMedia>,
    /// The quoted message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<PhoneContext>,
    #[serde(serialize_with = "rfc3339::required")]
    pub at: Timestamp,
    /// Copies that the phone was sent: more than one is harmless, and shows redelivery.
    pub copies: u32,
}

/// A quoted message and its author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhoneContext {
    pub message_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// A medium that came with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PhoneMedia {
    pub mime_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Bytes of the plaintext, as the message states.
    pub size: u64,
    /// SHA-256 of the downloaded and decrypted medium; absent when that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl PhoneMessage {
    pub(super) fn undecryptable(id: &str, from: &Jid, at: Timestamp, error: &SignalError) -> Self {
        Self {
            id: id.to_owned(),
            chat: from.bare().to_string(),
            from: from.to_string(),
            kind: UNDECRYPTABLE,
            text: Some(error.to_string()),
            target: None,
            media: None,
            context: None,
            at,
            copies: 1,
        }
    }

    pub(super) fn is_undecryptable(&self) -> bool {
        self.kind == UNDECRYPTABLE
    }
}
