//! Effects of a turn, carried out when the turn is durable.

use crate::account::{AccountView, Effect};
use crate::actors::tree::account::Account;
use crate::actors::tree::connection::{Connected, Dial};
use crate::base::hooks::Point;
use crate::base::ids::AccountId;
use crate::signal::KeyPair;
use actix::{AsyncContext, Context};
use tracing::field;

impl Account {
    pub(super) fn publish(&mut self, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        self.environment.hooks.reach(Point::Publishing, self.id.as_str());
        for effect in effects {
            match effect {
                Effect::Connect { generation, keys, payload, routing_info } => {
                    let dial = Dial {
                        account: self.id.clone(),
                        generation,
                        network: self.environment.network.through(self.options.proxy.as_ref()),
                        keys,
                        payload,
                        routing_info,
                        ephemeral: KeyPair::generate(&mut self.environment.entropy.fork()),
                        hooks: self.environment.hooks.clone(),
                    };
                    let account = ctx.address();
                    self.connection = Some(Connected::open(dial, account.clone().recipient(), account.recipient()));
                }
                Effect::Disconnect(generation) => {
                    self.connection.take_if(|connected| connected.generation() <= generation);
                }
                Effect::Write(generation, node) => {
                    if let Some(connected) = self.connection.as_ref().filter(|it| it.generation() == generation) {
                        connected.write(*node);
                    }
                }
                Effect::Reply(token, reply) => self.replies.answer(token, reply),
                Effect::Count(counter) => self.environment.metrics.count(counter),
                Effect::View(view) => {
                    let before = self.view.send_replace(*view);
                    log_change(&self.id, &before, &self.view.borrow());
                }
            }
        }
    }
}

/// Logs a change of an account's state: linking, outages, log-outs, removed devices.
fn log_change(account: &AccountId, before: &AccountView, now: &AccountView) {
    if before.state == now.state && before.reason == now.reason && before.jid == now.jid {
        return;
    }
    tracing::info!(
        %account,
        from = before.state.as_str(),
        state = now.state.as_str(),
        reason = now.reason,
        next_attempt = now.next_attempt_at.map(|at| at.rfc3339()),
        jid = now.jid.as_ref().map(field::debug),
        "account state changed"
    );
}
