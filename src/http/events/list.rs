//! `GET /v1/events`: the event log, by cursor, with a long poll.

use crate::actors::EventFilter;
use crate::http::auth::caller::Admin;
use crate::http::extract::account::id_of;
use crate::http::problem::Problem;
use crate::http::state::State;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use std::time::Duration;

/// The longest poll, in seconds.
const MAX_WAIT: u64 = 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Query {
    after: Option<String>,
    limit: Option<usize>,
    account: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    wait: Option<u64>,
}

pub(in crate::http) async fn list(
    _: Admin,
    state: web::Data<State>,
    query: web::Query<Query>,
) -> Result<HttpResponse, Problem> {
    let query = query.into_inner();
    let limit = query.limit.unwrap_or(100).clamp(1, 1000);
    let account = query.account.as_deref().map(id_of).transpose()?;
    let filter = EventFilter { account, kind: query.kind };
    let wait = Duration::from_secs(query.wait.unwrap_or(0).min(MAX_WAIT));
    let page = state.service.events(query.after.as_deref(), limit, &filter, wait).await?;
    // Events are stored as JSON and passed on as they are.
    let body = format!("{{\"data\":[{}],\"next\":\"{}\"}}", page.events.join(","), page.next);
    Ok(HttpResponse::Ok().content_type("application/json").body(body))
}
