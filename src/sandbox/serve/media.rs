//! The media host (`sandbox-service.md` 10): upload, resumption, download, ranges. It stores ciphertext only.

use super::host::WorldHost;
use crate::sandbox::world::WorldError;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentRange, ContentRangeSpec, Range};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

const MAX_UPLOAD: usize = 256 * 1024 * 1024;
/// Interrupted uploads that can be resumed.
const MAX_PARTIAL: usize = 64;

/// Interrupted uploads by token.
#[derive(Default)]
pub(super) struct Partial(Mutex<HashMap<String, Vec<u8>>>);

impl Partial {
    fn length(&self, token: &str) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token).map_or(0, Vec::len)
    }

    fn take(&self, token: &str) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(token).unwrap_or_default()
    }

    fn keep(&self, token: String, body: Vec<u8>) {
        let mut partial = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if partial.len() < MAX_PARTIAL {
            partial.insert(token, body);
        }
    }
}

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route("/mms/{kind}/{token}", web::post().to(upload)).default_service(web::to(download));
}

#[derive(Deserialize)]
struct Upload {
    resume: Option<String>,
    file_offset: Option<usize>,
}

/// Where a medium is stored, or how much of it.
#[derive(Default, Serialize)]
struct UploadState {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direct_path: Option<String>,
    /// `complete`, or the number of bytes stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    resume: Option<String>,
}

#[derive(Serialize)]
struct MediaError<'e> {
    error: &'e str,
}

async fn upload(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    query: web::Query<Upload>,
    mut payload: web::Payload,
    host: web::Data<WorldHost>,
    partial: web::Data<Partial>,
) -> HttpResponse {
    let (_, token) = path.into_inner();
    if query.resume.is_some() {
        return progress(&request, &token, &host, &partial).await;
    }
    let mut body = partial.take(&token);
    if body.len() < query.file_offset.unwrap_or_default() {
        return refuse(StatusCode::RANGE_NOT_SATISFIABLE, "the bytes before file_offset are missing");
    }
    body.truncate(query.file_offset.unwrap_or_default());
    while let Some(chunk) = payload.next().await {
        let Ok(chunk) = chunk else {
            partial.keep(token, body);
            return refuse(StatusCode::BAD_REQUEST, "the upload was interrupted");
        };
        if body.len() + chunk.len() > MAX_UPLOAD {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the medium is too large");
        }
        body.extend_from_slice(&chunk);
    }
    if URL_SAFE_NO_PAD.encode(Sha256::digest(&body)) != token.trim_end_matches('=') {
        return refuse(StatusCode::BAD_REQUEST, "the token is not the hash of the medium");
    }
    match host.with(move |world| world.store_media(body)).await {
        Some(Ok(path)) => HttpResponse::Ok().json(stored(&request, &path)),
        Some(Err(error @ WorldError::MediaFull)) => refuse(StatusCode::INSUFFICIENT_STORAGE, &error.to_string()),
        _ => refuse(StatusCode::SERVICE_UNAVAILABLE, "the sandbox is shutting down"),
    }
}

/// The progress of an upload.
async fn progress(request: &HttpRequest, token: &str, host: &WorldHost, partial: &Partial) -> HttpResponse {
    let path = format!("/v/t62.7118-24/{token}");
    let wanted = path.clone();
    let complete = host.with(move |world| world.fetch_media(&wanted).is_some()).await.unwrap_or_default();
    if complete {
        return HttpResponse::Ok().json(UploadState { resume: Some("complete".to_owned()), ..stored(request, &path) });
    }
    let resume = Some(partial.length(token)).filter(|length| *length > 0).map(|length| length.to_string());
    HttpResponse::Ok().json(UploadState { resume, ..UploadState::default() })
}

fn stored(request: &HttpRequest, path: &str) -> UploadState {
    let url = format!("https://{}{path}", request.connection_info().host());
    UploadState { url: Some(url), direct_path: Some(path.to_owned()), resume: None }
}

fn refuse(status: StatusCode, why: &str) -> HttpResponse {
    HttpResponse::build(status).json(MediaError { error: why })
}

async fn download(request: HttpRequest, host: web::Data<WorldHost>) -> HttpResponse {
    let path = request.path().to_owned();
    let Some(Some(body)) = host.with(move |world| world.fetch_media(&path)).await else {
        return refuse(StatusCode::NOT_FOUND, "there is no such medium");
    };
    let whole = body.len() as u64;
    let asked = request.headers().get(header::RANGE).and_then(|range| range.to_str().ok()?.parse::<Range>().ok());
    let mut answer = match &asked {
        Some(_) => HttpResponse::PartialContent(),
        None => HttpResponse::Ok(),
    };
    answer.content_type("application/octet-stream").insert_header((header::ACCEPT_RANGES, "bytes"));
    let Some(range) = asked else { return answer.body(body.to_vec()) };
    let first = match &range {
        Range::Bytes(specs) => specs.first().and_then(|spec| spec.to_satisfiable_range(whole)),
        _ => None,
    };
    let Some((from, to)) = first else {
        let range = ContentRange(ContentRangeSpec::Bytes { range: None, instance_length: Some(whole) });
        return HttpResponse::RangeNotSatisfiable().insert_header(range).finish();
    };
    let part = usize::try_from(from).ok().zip(usize::try_from(to).ok()).and_then(|(from, to)| body.get(from..=to));
    let range = ContentRange(ContentRangeSpec::Bytes { range: Some((from, to)), instance_length: Some(whole) });
    answer.insert_header(range).body(part.unwrap_or_default().to_vec())
}
