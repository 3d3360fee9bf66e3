//! The account: the actor around its router. Runs one turn at a time, in order; publishes effects when their turn is durable.

use crate::account::commands::Connection;
use crate::account::{
    AccountError, AccountView, Effect, Input, OwnDevice, Poison, Reply, ReplyTo, Router, Settings, StanzaFingerprint,
};
use crate::actors::supervision::boundary::{guard, guard_future};
use crate::actors::supervision::heartbeat::Heartbeat;
use crate::actors::tree::children::ChildActors;
use crate::actors::tree::connection::Connected;
use crate::actors::tree::environment::Environment;
use crate::actors::tree::inputs::{Abandoned, ConnectionDown, ConnectionInput, Drain, Ping, Request};
use crate::actors::tree::options::AccountOptions;
use crate::actors::tree::replies::Replies;
use crate::actors::tree::reports::{DownReport, TreeDown};
use crate::actors::tree::turns::{Machine, Turns};
use crate::base::hooks::Point;
use crate::base::ids::{AccountId, AccountKey, Generation};
use crate::base::time::Monotonic;
use crate::storage::{AccountStore, Changes};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, SpawnHandle, WrapFuture};
use rand::RngExt;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Most commands that wait in one account.
const MAX_COMMANDS: usize = 1024;

/// Interval of an account's retention sweep, and the pause between two of its pages.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
const SWEEP_STEP: Duration = Duration::from_secs(1);

/// One tree of one account.
pub(in crate::actors) struct Account {
    pub(super) id: AccountId,
    key: AccountKey,
    generation: Generation,
    pub(super) environment: Environment,
    pub(super) options: AccountOptions,
    report: DownReport,
    pub(super) view: watch::Sender<AccountView>,
    turns: Turns,
    poison: Poison,
    pub(super) replies: Replies,
    pub(super) connection: Option<Connected>,
    timer: Option<(Monotonic, SpawnHandle)>,
    /// A rest is scheduled: something was written since the last one.
    rests: bool,
    heartbeat: Heartbeat,
    /// Set when the server stops; answered when all accepted commands are durable.
    drained: Option<oneshot::Sender<()>>,
}

impl Account {
    pub(in crate::actors) fn new(
        id: AccountId,
        (key, generation): (AccountKey, Generation),
        environment: Environment,
        fleet: Recipient<TreeDown>,
        (view, heartbeat): (watch::Sender<AccountView>, Heartbeat),
        options: AccountOptions,
    ) -> Self {
        Self {
            report: DownReport::new(id.clone(), generation, fleet),
            id,
            key,
            generation,
            environment,
            options,
            view,
            turns: Turns::default(),
            poison: Poison::default(),
            replies: Replies::default(),
            connection: None,
            timer: None,
            rests: false,
            heartbeat,
            drained: None,
        }
    }

    fn load(&mut self) -> Result<Box<Machine>, AccountError> {
        let environment = &self.environment;
        let store = AccountStore::new(environment.store.records.clone(), self.key, self.turns.overlay().clone());
        self.poison = Poison::load(&store)?;
        let mut rng = environment.entropy.fork();
        let device = OwnDevice::load(&store)?.ok_or(AccountError::Record { what: "device" })?;
        let children = ChildActors::start(
            &self.id,
            &store,
            &device,
            &mut rng,
            environment.group_cache,
            (&environment.hooks, &self.heartbeat),
        );
        let mut settings = environment.settings.clone();
        if let Some(name) = &self.options.device_name {
            settings = Arc::new(Settings { device_name: name.clone(), ..(*settings).clone() });
        }
        let router = Router::load(self.id.clone(), store, settings, device, rng)?;
        Ok(Box::new(Machine { router, children }))
    }

    fn push(&mut self, input: Input, ctx: &mut Context<Self>) {
        self.turns.push(input, None);
        self.start_next_turn(ctx);
    }

    /// Starts the next turn, unless one is under way. Ends the tree when the server stops and all is done.
    fn start_next_turn(&mut self, ctx: &mut Context<Self>) {
        if self.turns.is_idle()
            && let Some(drained) = self.drained.take()
        {
            self.report.withhold();
            self.connection = None;
            ctx.stop();
            // The fleet no longer waits when its time is up.
            let _ = drained.send(());
            return;
        }
        let Some((mut machine, (input, credit))) = self.turns.begin() else { return };
        let (input, print) = self.inspect(input);
        let now = self.environment.clock.moment();
        self.heartbeat.begin_turn(print);
        let (hooks, id) = (self.environment.hooks.clone(), self.id.clone());
        let running = self.heartbeat.clone();
        let turn = async move {
            hooks.reach(Point::Router, id.as_str());
            let Machine { router, children } = &mut *machine;
            let result = router.turn(input, now, children).await;
            drop(credit);
            (machine, result)
        };
        // The future is large: it is boxed once, and not moved again.
        let turn = Box::pin(turn);
        let turn = guard_future(async move { running.run_future(turn).await });
        ctx.spawn(turn.into_actor(self).map(move |finished, account, ctx| {
            account.heartbeat.end_turn();
            match finished {
                Ok((machine, Ok((changes, effects)))) => {
                    account.turns.end(machine);
                    account.commit(changes, effects, ctx);
                    account.set_timer(ctx);
                    account.start_next_turn(ctx);
                }
                Ok((.., Err(error @ AccountError::Child(_)))) => account.brought_down(print, error.to_string(), ctx),
                Ok((.., Err(error))) => account.fail(&error.to_string(), ctx),
                Err(panic) => account.brought_down(print, panic.to_string(), ctx),
            }
        }));
    }

    /// Marks a stanza that made earlier turns panic, so that the router skips it.
    fn inspect(&self, input: Input) -> (Input, Option<StanzaFingerprint>) {
        let Input::Stanza(generation, node) = input else { return (input, None) };
        match StanzaFingerprint::of(&node) {
            Some(print) if self.poison.has(print) => (Input::Poison(generation, node), None),
            print => (Input::Stanza(generation, node), print),
        }
    }

    /// Handles a panicked turn: counts its stanza, if it had one, before the fleet reloads the tree.
    fn brought_down(&mut self, print: Option<StanzaFingerprint>, why: String, ctx: &mut Context<Self>) {
        let Some(print) = print else { return self.fail(&why, ctx) };
        let mut changes = Changes::default();
        changes.absorb(self.poison.count(print, self.environment.clock.now()));
        let counted = self.environment.store.commit(self.key, self.generation, changes);
        ctx.spawn(counted.into_actor(self).map(move |_, account, ctx| account.fail(&why, ctx)));
    }

    fn commit(&mut self, changes: Changes, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        if changes.is_empty() {
            if let Some(effects) = self.turns.defer(effects) {
                self.publish(effects, ctx);
            }
            return;
        }
        self.rest_later(ctx);
        let turn = self.turns.pin(&changes, effects);
        let committed = self.environment.store.commit(self.key, self.generation, changes);
        ctx.spawn(committed.into_actor(self).map(move |result, account, ctx| match result {
            Ok(()) => {
                account.turns.release(turn);
                while let Some(effects) = account.turns.next_durable(turn) {
                    account.publish(effects, ctx);
                }
                account.start_next_turn(ctx);
            }
            Err(error) => account.fail(&error.to_string(), ctx),
        }));
    }

    /// Sessions and keys that were used leave memory a while later; those that are used again are read again.
    fn rest_later(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.rests, true) {
            ctx.run_later(self.environment.rest_after, |account, ctx| {
                account.rests = false;
                account.push(Input::Rest, ctx);
            });
        }
    }

    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let deadline = self.turns.deadline();
        if deadline == self.timer.map(|(at, _)| at) {
            return;
        }
        if let Some((_, old)) = self.timer.take() {
            ctx.cancel_future(old);
        }
        if let Some(at) = deadline {
            let wait = at.after(self.environment.clock.steady());
            let timer = ctx.run_later(wait, |account, ctx| {
                account.timer = None;
                account.push(Input::Tick, ctx);
            });
            self.timer = Some((at, timer));
        }
    }

    /// Deletes a page of expired records, and schedules the next page.
    fn sweep(&mut self, ctx: &mut Context<Self>) {
        let (reply, swept) = oneshot::channel();
        let token = self.replies.register(reply);
        self.push(Input::Sweep(ReplyTo::new(token)), ctx);
        ctx.spawn(swept.into_actor(self).map(|swept, _, ctx| {
            let more = match swept {
                Ok(Reply::Answer(answer)) => {
                    answer.downcast_ref::<Result<bool, Infallible>>().is_some_and(|it| *it == Ok(true))
                }
                _ => false,
            };
            ctx.run_later(if more { SWEEP_STEP } else { SWEEP_EVERY }, Self::sweep);
        }));
    }

    /// Ends the tree; the fleet loads a new one. Waiting callers see their request dropped.
    fn fail(&mut self, why: &str, ctx: &mut Context<Self>) {
        if !self.report.send(why) {
            return;
        }
        self.connection = None;
        self.turns.clear_inputs();
        self.replies.clear();
        ctx.stop();
    }
}

impl Actor for Account {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAX_COMMANDS);
        let loaded = guard(|| self.load());
        match loaded {
            Ok(Ok(machine)) => {
                self.view.send_replace(machine.router.view().clone());
                self.turns.end(machine);
                // The caller is the actor itself: token 0 is nobody's.
                let resume = Connection::Resume { reply: ReplyTo::new(0) }.into();
                self.push(Input::Command(Box::new(resume), None), ctx);
                let first =
                    Duration::from_secs(self.environment.entropy.fork().random_range(60..SWEEP_EVERY.as_secs()));
                ctx.run_later(first, Self::sweep);
            }
            Ok(Err(error)) => self.fail(&error.to_string(), ctx),
            Err(panic) => self.fail(&panic.to_string(), ctx),
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.environment.hooks.reach(Point::Stopping, self.id.as_str());
    }
}

impl Handler<Request> for Account {
    /// False when too many commands wait.
    type Result = bool;

    fn handle(&mut self, Request(make, reply): Request, ctx: &mut Self::Context) -> bool {
        if self.drained.is_some() || self.replies.is_full(MAX_COMMANDS) {
            return false;
        }
        let token = self.replies.register(reply);
        self.push(make(token), ctx);
        true
    }
}

impl Handler<Ping> for Account {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Self::Context) {
        self.heartbeat.pong();
    }
}

impl Handler<Abandoned> for Account {
    type Result = ();

    fn handle(&mut self, _: Abandoned, ctx: &mut Self::Context) {
        self.report.withhold();
        self.connection = None;
        self.replies.clear();
        ctx.stop();
    }
}

impl Handler<Drain> for Account {
    type Result = ();

    fn handle(&mut self, Drain(drained): Drain, ctx: &mut Self::Context) {
        self.drained = Some(drained);
        self.turns.keep_commands();
        self.start_next_turn(ctx);
    }
}

impl Handler<ConnectionInput> for Account {
    type Result = ();

    fn handle(&mut self, ConnectionInput { input, credit }: ConnectionInput, ctx: &mut Self::Context) {
        if self.drained.is_some() {
            return;
        }
        self.turns.push(input, Some(credit));
        self.start_next_turn(ctx);
    }
}

impl Handler<ConnectionDown> for Account {
    type Result = ();

    fn handle(&mut self, ConnectionDown { generation, why, panicked }: ConnectionDown, ctx: &mut Self::Context) {
        if panicked {
            self.fail(&format!("the connection panicked: {why}"), ctx);
            return;
        }
        self.push(Input::Disconnected(generation, why), ctx);
    }
}
