//! `POST /v1/webhooks`.

use super::body::WebhookBody;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::events::types;
use crate::http::extract::json::Json;
use crate::http::extract::once::{Once, OnceHeader};
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use crate::webhook::{Endpoint, NewEndpoint};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{post, web};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::str::FromStr;
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewWebhook {
    #[schema(example = "https://bot.example/hook")]
    url: String,
    /// Types and patterns: `message.received`, `message.*`, `*`, which is the default.
    #[serde(default = "everything")]
    #[schema(min_items = 1, max_items = 100)]
    events: Vec<String>,
    /// The accounts whose events are delivered; all where it is absent.
    accounts: Option<Vec<String>>,
    /// Headers that are sent with each delivery.
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

/// Headers that frame or sign a delivery.
fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let frames = ["connection", "host", "te", "transfer-encoding", "upgrade"].contains(&name.as_str());
    frames || ["content-", "webhook-", "x-hub-"].iter().any(|prefix| name.starts_with(prefix))
}

impl NewWebhook {
    fn check(self) -> Result<NewEndpoint, Problem> {
        let Self { url, events, accounts, headers } = self;
        if events.is_empty() || events.len() > 100 {
            let why = "must name 1 to 100 event types, such as message.received or message.*";
            return Err(Problem::field("events", why));
        }
        for (index, pattern) in events.iter().enumerate() {
            types::check(&format!("events[{index}]"), pattern)?;
        }
        for (name, value) in &headers {
            if is_reserved(name) || HeaderName::from_str(name).is_err() || HeaderValue::from_str(value).is_err() {
                return Err(Problem::field("headers", format!("{name:?} cannot be sent as a header of one's own")));
            }
        }
        Ok(NewEndpoint { url, events, accounts, headers })
    }
}

/// Creates a webhook. The answer shows its signing secret, this once.
#[utoipa::path(tag = "webhooks", security(("key" = [])), params(OnceHeader), request_body = NewWebhook,
    responses((status = 201, body = WebhookBody), Problems))]
#[post("/webhooks")]
pub(super) async fn create(
    _: Caller,
    state: web::Data<State>,
    once: Once,
    Json(new): Json<NewWebhook>,
) -> Result<Answer<WebhookBody>, Problem> {
    let (service, key) = (state.service.clone(), once.key());
    let work = async move {
        let endpoint = new.check()?;
        let remember = |endpoint: &Endpoint| key.created(&WebhookBody::created(endpoint), service.now());
        let endpoint = service.create_webhook(endpoint, remember).await?;
        Ok(Answer::created(WebhookBody::created(&endpoint)))
    };
    once.create(&state, work).await
}
