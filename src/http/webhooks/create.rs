//! `POST /v1/webhooks`.

use super::view::render_new;
use crate::http::auth::caller::Admin;
use crate::http::extract::json as body;
use crate::http::extract::json::Body;
use crate::http::extract::once::{Creation, created};
use crate::http::problem::Problem;
use crate::http::state::State;
use crate::webhook::{Endpoint, NewEndpoint};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::str::FromStr;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewWebhook {
    url: String,
    #[serde(default = "everything")]
    events: Vec<String>,
    accounts: Option<Vec<String>>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

pub(in crate::http) async fn create(
    admin: Admin,
    state: web::Data<State>,
    request: HttpRequest,
    Body(bytes): Body,
) -> Result<HttpResponse, Problem> {
    let creation = match Creation::begin(&state.service, &request, &admin, &bytes)? {
        Ok(creation) => creation,
        Err(answer) => return Ok(answer),
    };
    let new: NewWebhook = body::read(&bytes)?;
    if new.events.is_empty() || new.events.len() > 100 {
        return Err(Problem::field("events", "must name 1 to 100 event types, such as message.received or message.*"));
    }
    for (name, value) in &new.headers {
        let reserved = name.to_ascii_lowercase().starts_with("webhook-") || name.eq_ignore_ascii_case("content-type");
        if reserved || HeaderName::from_str(name).is_err() || HeaderValue::from_str(value).is_err() {
            return Err(Problem::field("headers", format!("{name:?} cannot be sent as a header of one's own")));
        }
    }
    let endpoint = NewEndpoint { url: new.url, events: new.events, accounts: new.accounts, headers: new.headers };
    let remember = |endpoint: &Endpoint| creation.remember(render_new(endpoint));
    let endpoint = state.service.create_webhook(endpoint, remember).await?;
    Ok(created(render_new(&endpoint)))
}
