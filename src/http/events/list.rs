//! `GET /v1/events`: by cursor, with a long poll.

use super::types;
use crate::actors::EventFilter;
use crate::http::answer::Answer;
use crate::http::auth::caller::Caller;
use crate::http::extract::account;
use crate::http::extract::page::Limit;
use crate::http::extract::query::Query;
use crate::http::problem::{Problem, Problems};
use crate::http::state::State;
use actix_web::{get, web};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use serde_json::value::RawValue;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// The longest poll, in seconds.
const MAX_WAIT: u64 = 60;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventQuery {
    /// The `next` of the page before; without it the log is read from its beginning.
    after: Option<String>,
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Limit,
    /// Events of this account only.
    account: Option<String>,
    /// Events of this type only, or of a pattern such as `message.*`.
    #[serde(rename = "type")]
    #[param(example = "message.received")]
    kind: Option<String>,
    /// Waits so many seconds for the first event, 60 at most.
    wait: Option<u64>,
}

/// An event of the log, and the body of its webhook deliveries.
#[derive(ToSchema)]
#[expect(dead_code, reason = "events are stored rendered; this is their schema")]
struct Event {
    account: String,
    #[schema(format = DateTime)]
    at: String,
    /// Its fields depend on the type.
    #[schema(value_type = Object)]
    data: Map<String, serde_json::Value>,
    #[schema(example = "evt_0123456789abcdef01234567")]
    id: String,
    #[schema(rename = "type", example = "message.received")]
    kind: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = EventPage)]
struct EventPageBody {
    #[schema(value_type = Vec<Event>)]
    data: Vec<Box<RawValue>>,
    /// The cursor for `after`; never null, for the log goes on.
    next: String,
}

/// Reads the event log.
#[utoipa::path(tag = "events", security(("key" = [])), params(EventQuery),
    responses((status = 200, body = EventPageBody), Problems))]
#[get("/events")]
pub(super) async fn list(
    _: Caller,
    state: web::Data<State>,
    Query(query): Query<EventQuery>,
) -> Result<Answer<EventPageBody>, Problem> {
    let account = query.account.as_deref().map(account::parse).transpose()?;
    let wait = Duration::from_secs(query.wait.unwrap_or(0).min(MAX_WAIT));
    if let Some(kind) = &query.kind {
        types::check("type", kind)?;
    }
    let filter = EventFilter { account, kind: query.kind };
    let page = state.service.events(query.after.as_deref(), query.limit.get(), &filter, wait).await?;
    let data = page.events.into_iter().map(RawValue::from_string).collect::<Result<_, _>>();
    let data = data.map_err(|error| Problem::new(500, "internal", format!("a stored event is not JSON: {error}")))?;
    Ok(Answer::ok(EventPageBody { data, next: page.next }))
}
