//! Content of messages, read and written by a phone.

use super::message::PhoneMedia;
use crate::base::secret::Secret;
use crate::wire::WireError;
use crate::wire::media::{MediaKind, SealedMedia};
use crate::wire::message::unpad;
use crate::wire::proto::{ContextInfo, Message, MessageKey, message as fields};
use prost::Message as _;

const REVOKE: i32 = 0;
const MESSAGE_EDIT: i32 = 14;

/// A message that a person writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writing {
    Text(String),
    /// An empty emoji removes the reaction.
    Reaction {
        message_id: String,
        emoji: String,
    },
    Edit {
        message_id: String,
        text: String,
    },
    Revoke {
        message_id: String,
    },
    Media {
        kind: MediaKind,
        data: Vec<u8>,
        mime_type: String,
        file_name: Option<String>,
        caption: Option<String>,
    },
}

/// A decrypted message; a copy of an own message also names its destination.
pub(super) struct Decoded {
    pub(super) sent_to: Option<String>,
    pub(super) message: Message,
}

pub(super) fn decode(padded: &[u8]) -> Result<Decoded, WireError> {
    let message = Message::decode(unpad(padded)?).map_err(|_| WireError::Malformed { what: "message" })?;
    Ok(match message.device_sent_message {
        Some(sent) => {
            Decoded { sent_to: sent.destination_jid, message: sent.message.map(|inner| *inner).unwrap_or_default() }
        }
        None => Decoded { sent_to: None, message },
    })
}

/// Path and keys of a medium.
pub(super) struct MediaReference {
    pub(super) kind: MediaKind,
    pub(super) direct_path: String,
    pub(super) key: Option<Secret<32>>,
    pub(super) sha256: Vec<u8>,
}

/// Content of a message that a person sees.
pub(super) struct Visible {
    pub(super) kind: &'static str,
    pub(super) text: Option<String>,
    pub(super) target: Option<String>,
    pub(super) media: Option<(PhoneMedia, MediaReference)>,
    pub(super) quoted: Option<ContextInfo>,
}

impl Visible {
    fn text(text: String) -> Self {
        Self { kind: "text", text: Some(text), target: None, media: None, quoted: None }
    }
}

/// `None` for messages between devices.
pub(super) fn visible(message: Message) -> Option<Visible> {
    if let Some(edited) = message.edited_message.and_then(|wrapped| wrapped.message) {
        return visible(*edited);
    }
    if let Some(protocol) = message.protocol_message {
        return visible_in_protocol(*protocol);
    }
    if let Some(reaction) = message.reaction_message {
        let target = reaction.key.and_then(|key| key.id);
        return Some(Visible { kind: "reaction", text: reaction.text, target, media: None, quoted: None });
    }
    if let Some(text) = message.conversation {
        return Some(Visible::text(text));
    }
    if let Some(text) = message.extended_text_message {
        return Some(Visible { quoted: text.context_info, ..Visible::text(text.text.unwrap_or_default()) });
    }
    macro_rules! medium {
        ($field:expr, $name:literal, $kind:ident, $caption:expr, $file:expr) => {
            if let Some(medium) = $field {
                let reference = MediaReference {
                    kind: MediaKind::$kind,
                    direct_path: medium.direct_path().to_owned(),
                    key: Secret::from_slice(medium.media_key()),
                    sha256: medium.file_sha256().to_owned(),
                };
                let shown = PhoneMedia {
                    mime_type: medium.mimetype().to_owned(),
                    file_name: $file(&medium),
                    size: medium.file_length(),
                    sha256: None,
                };
                let text = $caption(medium);
                return Some(Visible {
                    kind: $name,
                    text,
                    target: None,
                    media: Some((shown, reference)),
                    quoted: None,
                });
            }
        };
    }
    let no_name = |_: &fields::ImageMessage| None;
    medium!(message.image_message, "image", Image, |it: fields::ImageMessage| it.caption, no_name);
    let no_name = |_: &fields::VideoMessage| None;
    medium!(message.video_message, "video", Video, |it: fields::VideoMessage| it.caption, no_name);
    let no_name = |_: &fields::AudioMessage| None;
    medium!(message.audio_message, "audio", Audio, |_: fields::AudioMessage| None, no_name);
    let no_name = |_: &fields::StickerMessage| None;
    medium!(message.sticker_message, "sticker", Image, |_: fields::StickerMessage| None, no_name);
    let file_name = |it: &fields::DocumentMessage| it.file_name.clone();
    medium!(message.document_message, "document", Document, |it: fields::DocumentMessage| it.caption, file_name);
    None
}

fn visible_in_protocol(protocol: fields::ProtocolMessage) -> Option<Visible> {
    let target = protocol.key.and_then(|key| key.id);
    match protocol.r#type {
        Some(REVOKE) => Some(Visible { kind: "revoke", text: None, target, media: None, quoted: None }),
        Some(MESSAGE_EDIT) => {
            let text = protocol.edited_message.and_then(|edited| visible(*edited)).and_then(|visible| visible.text);
            Some(Visible { kind: "edit", text, target, media: None, quoted: None })
        }
        _ => None,
    }
}

pub(super) fn reaction(key: MessageKey, emoji: &str, now_ms: u64) -> Message {
    let reaction = fields::ReactionMessage {
        key: Some(key),
        text: Some(emoji.to_owned()),
        sender_timestamp_ms: i64::try_from(now_ms).ok(),
    };
    Message { reaction_message: Some(reaction), ..Message::default() }
}

pub(super) fn revoke(key: MessageKey) -> Message {
    protocol(fields::ProtocolMessage { key: Some(key), r#type: Some(REVOKE), ..Default::default() })
}

pub(super) fn edit(key: MessageKey, text: Message, now_ms: u64) -> Message {
    protocol(fields::ProtocolMessage {
        key: Some(key),
        r#type: Some(MESSAGE_EDIT),
        edited_message: Some(Box::new(text)),
        timestamp_ms: i64::try_from(now_ms).ok(),
        ..Default::default()
    })
}

pub(super) fn protocol(message: fields::ProtocolMessage) -> Message {
    Message { protocol_message: Some(Box::new(message)), ..Message::default() }
}

/// An uploaded medium.
pub(super) struct Uploaded {
    pub(super) sealed: SealedMedia,
    pub(super) size: u64,
    pub(super) url: String,
    pub(super) direct_path: String,
    pub(super) now_secs: i64,
}

pub(super) fn media(
    kind: MediaKind,
    it: Uploaded,
    mime_type: String,
    file_name: Option<String>,
    caption: Option<String>,
) -> Message {
    macro_rules! medium {
        ($message:ident { $($more:ident),* } $($rest:expr)?) => {
            fields::$message {
                url: Some(it.url),
                mimetype: Some(mime_type),
                file_sha256: Some(it.sealed.sha256.to_vec()),
                file_length: Some(it.size),
                media_key: Some(it.sealed.key.expose().to_vec()),
                file_enc_sha256: Some(it.sealed.enc_sha256.to_vec()),
                direct_path: Some(it.direct_path),
                media_key_timestamp: Some(it.now_secs),
                $($more,)*
                $(..$rest)?
            }
        };
    }
    let empty = Message::default();
    match kind {
        MediaKind::Image => {
            Message { image_message: Some(medium!(ImageMessage { caption } Default::default())), ..empty }
        }
        MediaKind::Video => Message { video_message: Some(medium!(VideoMessage { caption })), ..empty },
        MediaKind::Audio => Message { audio_message: Some(medium!(AudioMessage {})), ..empty },
        MediaKind::Document => Message {
            document_message: Some(medium!(DocumentMessage { file_name, caption } Default::default())),
            ..empty
        },
    }
}
