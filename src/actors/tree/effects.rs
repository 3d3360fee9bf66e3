//! Effects of a turn: carried out when it is durable.

use crate::account::Effect;
use crate::actors::tree::account::Account;
use crate::actors::tree::connection::{Connected, Dial};
use crate::base::hooks::Point;
use crate::signal::KeyPair;
use actix::{AsyncContext, Context};

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
                Effect::Count(incident) => self.environment.metrics.count(incident),
                Effect::View(view) => {
                    self.view.send_replace(*view);
                }
            }
        }
    }
}
