//! `/v1/webhooks`: endpoints that events are delivered to.

use super::State;
use super::auth::Admin;
use super::body::{self, Body};
use super::idempotency::{Creation, created};
use super::problem::Problem;
use crate::webhook::{Endpoint, NewEndpoint};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};
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

/// Header values may be credentials and are not shown again; neither is the secret.
fn render(endpoint: &Endpoint) -> Value {
    json!({
        "id": endpoint.id,
        "url": endpoint.url,
        "events": endpoint.events,
        "accounts": endpoint.accounts,
        "headers": endpoint.headers.keys().collect::<Vec<_>>(),
        "disabled": endpoint.disabled,
        "created_at": endpoint.created_at.rfc3339(),
    })
}

/// Once, the secret is shown.
fn render_new(endpoint: &Endpoint) -> String {
    let mut answer = render(endpoint);
    answer["secret"] = json!(endpoint.secrets.first().map(|secret| secret.expose()));
    answer.to_string()
}

pub(super) async fn create(
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

pub(super) async fn list(_: Admin, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let endpoints = state.service.webhooks()?;
    let data: Vec<Value> = endpoints.iter().map(render).collect();
    Ok(HttpResponse::Ok().json(json!({ "data": data, "next": null })))
}

pub(super) async fn get(_: Admin, state: web::Data<State>, path: web::Path<String>) -> Result<HttpResponse, Problem> {
    let endpoints = state.service.webhooks()?;
    let found = endpoints.iter().find(|endpoint| endpoint.id.as_str() == path.as_str());
    let none = || Problem::new(404, "webhook_not_found", format!("there is no webhook {:?}", path.as_str()));
    Ok(HttpResponse::Ok().json(render(found.ok_or_else(none)?)))
}

pub(super) async fn delete(
    _: Admin,
    state: web::Data<State>,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    state.service.delete_webhook(&path).await?;
    Ok(HttpResponse::NoContent().finish())
}
