//! Events: rendered once, logged with the turn that made them (`api.md`, "Events").

use super::current::Turn;
use crate::base::ids::EventId;
use crate::storage::NewEvent;
use serde::Serialize;

/// The `data` of an event.
pub(in crate::account) trait Event: Serialize {
    /// The event type, such as `message.received`.
    const TYPE: &'static str;

    /// The chat that orders deliveries of the event; empty for the account as a whole.
    fn chat(&self) -> &str {
        ""
    }
}

#[derive(Serialize)]
struct Rendered<'a, E> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    account: &'a str,
    at: String,
    data: &'a E,
}

impl Turn<'_> {
    pub(in crate::account) fn event<E: Event>(&mut self, event: &E) {
        let id = EventId::generate(&mut self.ctx.rng);
        let account = self.ctx.id.as_str();
        let rendered = Rendered { id: id.as_str(), kind: E::TYPE, account, at: self.now.rfc3339(), data: event };
        let Ok(body) = serde_json::to_string(&rendered) else {
            tracing::error!(account, kind = E::TYPE, "event could not be rendered");
            return;
        };
        let new = NewEvent {
            id,
            at: self.now,
            kind: E::TYPE,
            account: account.to_owned(),
            chat: event.chat().to_owned(),
            body,
        };
        self.changes.events.push(new);
    }
}
