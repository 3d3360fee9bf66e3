//! Messages that people write and read on their phones.

use super::answer::{Answer, Problem, ask, page, parse};
use crate::base::ids::MessageId;
use crate::sandbox::serve::host::WorldHost;
use crate::sandbox::world::Writing;
use crate::wire::media::MediaKind;
use actix_web::{HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// A medium in base64, and the fields around it.
const MAX_BODY: usize = 24 * 1024 * 1024;

pub(super) fn routes(app: &mut web::ServiceConfig) {
    let messages = web::resource("/phones/{number}/messages")
        .app_data(web::PayloadConfig::new(MAX_BODY))
        .route(web::post().to(write))
        .route(web::get().to(read));
    app.service(messages);
}

/// A recipient, and exactly one of the other fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMessage {
    to: String,
    text: Option<String>,
    reaction: Option<NewReaction>,
    edit: Option<NewEdit>,
    revoke: Option<NewRevocation>,
    image: Option<NewMedium>,
    video: Option<NewMedium>,
    audio: Option<NewMedium>,
    document: Option<NewMedium>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewReaction {
    message_id: String,
    emoji: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEdit {
    message_id: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRevocation {
    message_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMedium {
    /// Base64.
    data: String,
    mime_type: Option<String>,
    file_name: Option<String>,
    caption: Option<String>,
}

impl NewMedium {
    fn into_writing(self, kind: MediaKind, default_type: &str) -> Result<Writing, Problem> {
        let data = STANDARD
            .decode(&self.data)
            .map_err(|error| Problem::new(400, "invalid_field", format!("data is not base64: {error}")))?;
        let mime_type = self.mime_type.unwrap_or_else(|| default_type.to_owned());
        Ok(Writing::Media { kind, data, mime_type, file_name: self.file_name, caption: self.caption })
    }
}

impl NewMessage {
    /// The recipient and the message.
    fn into_writing(self) -> Result<(String, Writing), Problem> {
        let medium = |medium: Option<NewMedium>, kind, default_type| {
            medium.map(|medium| medium.into_writing(kind, default_type)).transpose()
        };
        let wanted = [
            self.text.map(Writing::Text),
            self.reaction.map(|it| Writing::Reaction { message_id: it.message_id, emoji: it.emoji }),
            self.edit.map(|it| Writing::Edit { message_id: it.message_id, text: it.text }),
            self.revoke.map(|it| Writing::Revoke { message_id: it.message_id }),
            medium(self.image, MediaKind::Image, "image/jpeg")?,
            medium(self.video, MediaKind::Video, "video/mp4")?,
            medium(self.audio, MediaKind::Audio, "audio/ogg; codecs=opus")?,
            medium(self.document, MediaKind::Document, "application/octet-stream")?,
        ];
        let mut wanted = wanted.into_iter().flatten();
        match (wanted.next(), wanted.next()) {
            (Some(only), None) => Ok((self.to, only)),
            _ => {
                let detail = "the body names one of text, reaction, edit, revoke, image, video, audio, document";
                Err(Problem::new(400, "invalid_body", detail))
            }
        }
    }
}

#[derive(Serialize)]
struct Written {
    id: MessageId,
}

async fn write(host: web::Data<WorldHost>, number: web::Path<String>, body: web::Bytes) -> Answer {
    let (to, what) = parse::<NewMessage>(&body)?.into_writing()?;
    let id = ask(&host, move |world| world.write(&number, &to, what)).await??;
    Ok(HttpResponse::Created().json(Written { id }))
}

async fn read(host: web::Data<WorldHost>, number: web::Path<String>) -> Answer {
    page(ask(&host, move |world| world.phone_messages(&number).map(<[_]>::to_vec)).await??)
}
