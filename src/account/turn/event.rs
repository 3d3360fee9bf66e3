//! Events: rendered once, logged with the turn that made them.

use crate::account::router::{Effect, Router, Turn};
use crate::account::view::AccountView;
use crate::base::ids::EventId;
use crate::storage::NewEvent;
use serde_json::{Value, json};

impl Router {
    /// Adds an event to the turn. `chat` keeps its order with others of the chat.
    pub(in crate::account) fn event<C>(
        &mut self,
        turn: &mut Turn<'_, C>,
        kind: &'static str,
        chat: &str,
        data: &Value,
    ) {
        let id = EventId::generate(&mut self.rng);
        let body = json!({
            "id": id.as_str(),
            "type": kind,
            "account": self.id.as_str(),
            "at": turn.now.rfc3339(),
            "data": data,
        });
        let (account, chat) = (self.id.as_str().to_owned(), chat.to_owned());
        turn.changes.events.push(NewEvent { id, at: turn.now, kind, account, chat, body: body.to_string() });
    }

    /// Reports a changed view: to whoever watches, and the parts that matter to bots as events.
    pub(in crate::account) fn report_view<C>(&mut self, turn: &mut Turn<'_, C>, before: &AccountView) {
        let view = self.view.clone();
        if view.code != before.code
            && let Some(code) = &view.code
        {
            let data = json!({ "code": code.text, "expires_at": code.expires_at.rfc3339() });
            self.event(turn, "account.qr", "", &data);
        }
        if (view.state, &view.reason) != (before.state, &before.reason) {
            let data = json!({
                "state": view.state.as_str(),
                "reason": view.reason,
                "next_attempt_at": view.next_attempt_at.map(|at| at.rfc3339()),
                "jid": view.jid,
                "lid": view.lid,
            });
            self.event(turn, "account.state", "", &data);
        }
        // Whoever gets this turn's reply must find the view that belongs to it.
        turn.effects.insert(0, Effect::View(Box::new(view)));
    }
}
