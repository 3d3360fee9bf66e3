//! Supervision of trees: restart after a failure, heartbeats, quarantine, shutdown.

use crate::account::AccountState;
use crate::actors::fleet::registry::{Fleet, Tree};
use crate::actors::supervision::heartbeat::{ROUNDS, Stuck};
use crate::actors::tree::inputs::{Abandoned, Ping};
use crate::actors::tree::reports::TreeDown;
use crate::base::hooks::Point;
use actix::{
    ActorContext, ActorFutureExt, Arbiter, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture,
};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;

/// More restarts than this within the window quarantine an account.
const MAX_RESTARTS: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_secs(60);
const RESTART_WAIT: Duration = Duration::from_millis(100);

impl Fleet {
    /// Begins the next round after this one: rounds that a frozen process has missed are not made up for.
    pub(in crate::actors) fn listen_later(&self, ctx: &mut Context<Self>) {
        ctx.run_later(self.environment.patience / ROUNDS, |fleet, ctx| {
            fleet.listen(ctx);
            fleet.listen_later(ctx);
        });
    }

    /// Sends a heartbeat to every tree, and abandons unresponsive ones.
    fn listen(&mut self, ctx: &mut Context<Self>) {
        let mut stuck = Vec::new();
        for (id, entry) in &mut self.accounts {
            let Some(tree) = &mut entry.tree else { continue };
            match tree.heartbeat.round(&mut tree.watch) {
                // A full mailbox counts as a missed ping.
                None => drop(tree.address.try_send(Ping)),
                Some(what) => stuck.push((id.clone(), entry.generation, what, tree.arbiter)),
            }
        }
        let blocked: BTreeSet<usize> =
            stuck.iter().filter(|(.., what, _)| *what == Stuck::Thread).map(|(.., arbiter)| *arbiter).collect();
        for arbiter in blocked {
            // A blocked thread cannot be ended; its accounts move to a new one.
            tracing::error!(arbiter, "thread blocked, replaced");
            self.arbiters[arbiter] = Arbiter::new();
        }
        self.environment.metrics.stuck.inc_by(stuck.len() as u64);
        for (account, generation, what, _) in stuck {
            let Some(entry) = self.accounts.get_mut(&account) else { continue };
            if let Some(tree) = entry.tree.take() {
                if let Some(stanza) = tree.heartbeat.suspect(what) {
                    // The service delivers it again; after the second time it is skipped.
                    self.environment.count_poison(entry.record.key, generation, stanza);
                }
                // It ends when it can; its later commits are fenced off.
                let _ = tree.address.try_send(Abandoned);
            }
            self.handle(TreeDown { account, generation, why: what.why().to_owned() }, ctx);
        }
    }
}

impl Handler<TreeDown> for Fleet {
    type Result = ();

    fn handle(&mut self, TreeDown { account, generation, why }: TreeDown, ctx: &mut Self::Context) {
        self.environment.hooks.reach(Point::TreeDown, account.as_str());
        let now = self.environment.clock.now();
        let Some(entry) = self.accounts.get_mut(&account).filter(|entry| entry.generation == generation) else {
            return;
        };
        entry.tree = None;
        self.environment.metrics.restarts.inc();
        entry.restarts.push_back(now);
        while entry.restarts.front().is_some_and(|at| at.plus(RESTART_WINDOW) <= now) {
            entry.restarts.pop_front();
        }
        if entry.restarts.len() > MAX_RESTARTS {
            self.environment.metrics.quarantines.inc();
            tracing::error!(%account, why, "account quarantined");
            entry.quarantine = Some(why.clone());
            entry.waiting.clear();
            entry.view.send_modify(|view| {
                view.state = AccountState::Quarantined;
                view.reason = Some(why);
            });
            return;
        }
        tracing::warn!(%account, why, restarts = entry.restarts.len(), "account tree failed, restarting");
        let doublings = u32::try_from(entry.restarts.len()).unwrap_or(u32::MAX).saturating_sub(1).min(10);
        ctx.run_later(RESTART_WAIT * 2u32.pow(doublings), move |fleet, ctx| fleet.launch(&account, ctx));
    }
}

/// Drains every tree within this time. True when all finished.
#[derive(Message)]
#[rtype(result = "bool")]
pub(in crate::actors) struct ShutDown(pub(in crate::actors) Duration);

impl Handler<ShutDown> for Fleet {
    type Result = ResponseActFuture<Self, bool>;

    fn handle(&mut self, ShutDown(within): ShutDown, _: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        let trees = self.accounts.values_mut().filter_map(|entry| entry.tree.take());
        let drained: Vec<_> = trees.map(Tree::drain).collect();
        let all = tokio::time::timeout(within, join_all(drained));
        Box::pin(all.into_actor(self).map(|all, fleet, ctx| {
            for arbiter in fleet.arbiters.drain(..) {
                arbiter.stop();
            }
            ctx.stop();
            all.is_ok()
        }))
    }
}
