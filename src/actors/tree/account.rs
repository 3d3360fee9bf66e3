//! The account: the shell around its router. One turn at a time, in order; effects when their turn is durable.

use crate::account::{
    AccountError, AccountView, Command, Device, Effect, Input, Poison, Reply, Router, Settings, StanzaPrint,
};
use crate::actors::committer::writer::Store;
use crate::actors::fleet::registry::Fleet;
use crate::actors::fleet::renewal::AccountOptions;
use crate::actors::fleet::supervision::TreeDown;
use crate::actors::metrics::Metrics;
use crate::actors::supervision::boundary::guard_future;
use crate::actors::supervision::heartbeat::Pulse;
use crate::actors::transport::network::Network;
use crate::actors::tree::children::Tree;
use crate::actors::tree::connection::{Dial, Link};
use crate::actors::tree::group_cache::GroupCache;
use crate::base::entropy::Entropy;
use crate::base::hooks::{Hooks, Point};
use crate::base::ids::{AccountId, AccountKey, Generation};
use crate::base::time::{Clock, Monotonic};
use crate::signal::KeyPair;
use crate::storage::{AccountStore, Changes, Overlay};
use crate::wire::Node;
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture,
};
use rand::RngExt;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

/// Requests that may wait in one account.
const MAX_COMMANDS: usize = 1024;
/// Turns that may be computed ahead of their commits.
const MAX_IN_FLIGHT: usize = 64;

/// How often an account looks for what is too old, and how long it waits between two pages.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
const SWEEP_STEP: Duration = Duration::from_secs(1);

/// What every tree needs.
#[derive(Clone)]
pub(in crate::actors) struct Environment {
    pub(in crate::actors) store: Store,
    pub(in crate::actors) network: Network,
    pub(in crate::actors) settings: Arc<Settings>,
    pub(in crate::actors) clock: Arc<dyn Clock>,
    pub(in crate::actors) entropy: Arc<Entropy>,
    pub(in crate::actors) hooks: Arc<dyn Hooks>,
    pub(in crate::actors) metrics: Arc<Metrics>,
    /// How long events stay in the log.
    pub(in crate::actors) keep_events: Duration,
    /// A tree that does not move for so long is given up.
    pub(in crate::actors) patience: Duration,
    pub(in crate::actors) group_cache: GroupCache,
}

impl Environment {
    /// Counts a stanza that a tree did not survive, in the tree's own name: before the next one is let in.
    pub(in crate::actors) fn count_poison(&self, account: AccountKey, generation: Generation, stanza: StanzaPrint) {
        let store = AccountStore::new(self.store.records.clone(), account, Overlay::default());
        match Poison::load(&store) {
            Ok(mut poison) => {
                let mut changes = Changes::default();
                changes.absorb(poison.count(stanza, self.clock.now()));
                // In order before the fence; whether it is durable shows when the next tree loads it.
                drop(self.store.commit(account, generation, changes));
            }
            Err(error) => tracing::error!(%error, "a stanza that blocks an account cannot be counted"),
        }
    }
}

/// One tree of one account.
pub(in crate::actors) struct Account {
    id: AccountId,
    key: AccountKey,
    generation: Generation,
    environment: Environment,
    options: AccountOptions,
    fleet: Addr<Fleet>,
    view: watch::Sender<AccountView>,
    overlay: Overlay,
    /// Away while a turn is under way.
    machine: Option<(Router, Tree)>,
    poison: Poison,
    inputs: VecDeque<(Input, Option<OwnedSemaphorePermit>)>,
    replies: HashMap<u64, oneshot::Sender<Reply>>,
    next_token: u64,
    turn: u64,
    /// Effects of turns that are not yet durable.
    in_flight: VecDeque<(u64, Vec<Effect>)>,
    link: Option<(Generation, mpsc::UnboundedSender<Node>)>,
    timer: Option<(Monotonic, SpawnHandle)>,
    /// Whether the fleet knows that this tree has ended.
    reported: bool,
    pulse: Pulse,
    /// Set when the server stops: told when what was accepted is durable.
    drained: Option<oneshot::Sender<()>>,
}

/// However a tree ends, the fleet hears of it: a panic outside the guarded turn unwinds through here.
impl Drop for Account {
    fn drop(&mut self) {
        if !self.reported {
            let why = "the account's actor ended unexpectedly".to_owned();
            // A fleet that is gone, as at shutdown, restarts nothing.
            let _ = self.fleet.try_send(TreeDown { account: self.id.clone(), generation: self.generation, why });
        }
    }
}

impl Account {
    pub(in crate::actors) fn new(
        id: AccountId,
        (key, generation): (AccountKey, Generation),
        environment: Environment,
        fleet: Addr<Fleet>,
        (view, pulse): (watch::Sender<AccountView>, Pulse),
        options: AccountOptions,
    ) -> Self {
        Self {
            id,
            key,
            generation,
            environment,
            options,
            fleet,
            view,
            overlay: Overlay::default(),
            machine: None,
            poison: Poison::default(),
            inputs: VecDeque::new(),
            replies: HashMap::new(),
            next_token: 0,
            turn: 0,
            in_flight: VecDeque::new(),
            link: None,
            timer: None,
            reported: false,
            pulse,
            drained: None,
        }
    }

    fn load(&mut self) -> Result<(Router, Tree), AccountError> {
        let environment = &self.environment;
        let store = AccountStore::new(environment.store.records.clone(), self.key, self.overlay.clone());
        self.poison = Poison::load(&store)?;
        let mut rng = environment.entropy.fork();
        let device = Device::load(&store)?.ok_or(AccountError::Record { what: "device" })?;
        let tree = Tree::start(
            &self.id,
            &store,
            &device,
            &mut rng,
            environment.group_cache,
            (&environment.hooks, &self.pulse),
        );
        let mut settings = environment.settings.clone();
        if let Some(name) = &self.options.device_name {
            settings = Arc::new(Settings { device_name: name.clone(), ..(*settings).clone() });
        }
        let router = Router::load(self.id.clone(), store, settings, device, rng)?;
        Ok((router, tree))
    }

    fn token(&mut self, reply: oneshot::Sender<Reply>) -> u64 {
        self.next_token += 1;
        self.replies.insert(self.next_token, reply);
        self.next_token
    }

    /// Begins the next turn, if none is under way.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        let is_idle = self.inputs.is_empty() && self.in_flight.is_empty() && self.machine.is_some();
        if is_idle && let Some(drained) = self.drained.take() {
            self.reported = true;
            self.link = None;
            ctx.stop();
            // A fleet that no longer waits has had no time for more.
            let _ = drained.send(());
            return;
        }
        if self.in_flight.len() >= MAX_IN_FLIGHT || self.inputs.is_empty() {
            return;
        }
        let Some((mut router, mut tree)) = self.machine.take() else { return };
        let Some((input, credit)) = self.inputs.pop_front() else { return };
        let (input, print) = self.inspect(input);
        let now = self.environment.clock.moment();
        self.pulse.begin_turn(print);
        let (hooks, id) = (self.environment.hooks.clone(), self.id.clone());
        let running = self.pulse.clone();
        let turn = async move {
            hooks.reach(Point::Router, id.as_str());
            let result = router.turn(input, now, &mut tree).await;
            drop(credit);
            (router, tree, result)
        };
        let turn = guard_future(async move { running.run_future(turn).await });
        ctx.spawn(turn.into_actor(self).map(move |finished, account, ctx| {
            account.pulse.end_turn();
            match finished {
                Ok((router, tree, Ok((changes, effects)))) => {
                    account.machine = Some((router, tree));
                    account.commit(changes, effects, ctx);
                    account.set_timer(ctx);
                    account.pump(ctx);
                }
                Ok((.., Err(error @ AccountError::Child(_)))) => account.brought_down(print, error.to_string(), ctx),
                Ok((.., Err(error))) => account.fail(&error.to_string(), ctx),
                Err(panic) => account.brought_down(print, panic.to_string(), ctx),
            }
        }));
    }

    /// A stanza that has brought the account down before is only to be set aside.
    fn inspect(&self, input: Input) -> (Input, Option<StanzaPrint>) {
        let Input::Stanza(generation, node) = input else { return (input, None) };
        match StanzaPrint::of(&node) {
            Some(print) if self.poison.has(print) => (Input::Poison(generation, node), None),
            print => (Input::Stanza(generation, node), print),
        }
    }

    /// A turn has panicked. If it was about a stanza, that is counted before the tree is loaded anew.
    fn brought_down(&mut self, print: Option<StanzaPrint>, why: String, ctx: &mut Context<Self>) {
        let Some(print) = print else { return self.fail(&why, ctx) };
        let mut changes = Changes::default();
        changes.absorb(self.poison.count(print, self.environment.clock.now()));
        let counted = self.environment.store.commit(self.key, self.generation, changes);
        ctx.spawn(counted.into_actor(self).map(move |_, account, ctx| account.fail(&why, ctx)));
    }

    fn commit(&mut self, changes: Changes, effects: Vec<Effect>, ctx: &mut Context<Self>) {
        if changes.is_empty() {
            // What this turn saw may not be durable yet: its effects wait for the turns before it.
            match self.in_flight.back_mut() {
                Some((_, waiting)) => waiting.extend(effects),
                None => self.publish(effects, ctx),
            }
            return;
        }
        self.turn += 1;
        let turn = self.turn;
        self.overlay.pin(turn, &changes);
        self.in_flight.push_back((turn, effects));
        let committed = self.environment.store.commit(self.key, self.generation, changes);
        ctx.spawn(committed.into_actor(self).map(move |result, account, ctx| match result {
            Ok(()) => {
                account.overlay.release(turn);
                while account.in_flight.front().is_some_and(|(waiting, _)| *waiting <= turn) {
                    if let Some((_, effects)) = account.in_flight.pop_front() {
                        account.publish(effects, ctx);
                    }
                }
                account.pump(ctx);
            }
            Err(error) => account.fail(&error.to_string(), ctx),
        }));
    }

    fn publish(&mut self, effects: Vec<Effect>, ctx: &mut Context<Self>) {
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
                    self.link = Some((generation, Link::start(dial, ctx.address())));
                }
                Effect::Disconnect(generation) => {
                    self.link.take_if(|(connected, _)| *connected <= generation);
                }
                Effect::Write(generation, node) => {
                    if let Some((connected, link)) = &self.link
                        && *connected == generation
                    {
                        // A link that is gone reports it by itself, and what matters is written again.
                        let _ = link.send(*node);
                    }
                }
                Effect::Reply(token, reply) => {
                    if let Some(waiting) = self.replies.remove(&token) {
                        let _ = waiting.send(reply);
                    }
                }
                Effect::Count(incident) => self.environment.metrics.count(incident),
                Effect::View(view) => {
                    self.view.send_replace(*view);
                }
            }
        }
    }

    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let deadline = self.machine.as_ref().and_then(|(router, _)| router.deadline());
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
                account.inputs.push_back((Input::Tick, None));
                account.pump(ctx);
            });
            self.timer = Some((at, timer));
        }
    }

    /// Forgets what is too old, a page at a time, and comes back for the next.
    fn sweep(&mut self, ctx: &mut Context<Self>) {
        let (reply, swept) = oneshot::channel();
        let token = self.token(reply);
        self.inputs.push_back((Input::Command(Command::Sweep, token), None));
        self.pump(ctx);
        ctx.spawn(swept.into_actor(self).map(|swept, _, ctx| {
            let wait = if matches!(swept, Ok(Reply::Swept { more: true })) { SWEEP_STEP } else { SWEEP_EVERY };
            ctx.run_later(wait, Self::sweep);
        }));
    }

    /// The tree is broken: the fleet loads a fresh one. Waiting callers see their request dropped.
    fn fail(&mut self, why: &str, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.reported, true) {
            return;
        }
        let down = TreeDown { account: self.id.clone(), generation: self.generation, why: why.to_owned() };
        let fleet = self.fleet.clone();
        self.link = None;
        self.inputs.clear();
        self.replies.clear();
        actix::spawn(async move {
            // The fleet outlives every account but at shutdown.
            let _ = fleet.send(down).await;
        });
        ctx.stop();
    }
}

impl Actor for Account {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAX_COMMANDS);
        let loaded = crate::actors::supervision::boundary::guard(|| self.load());
        match loaded {
            Ok(Ok(machine)) => {
                self.view.send_replace(machine.0.view().clone());
                self.machine = Some(machine);
                self.inputs.push_back((Input::Command(Command::Resume, 0), None));
                self.pump(ctx);
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

/// A command from outside; the reply comes through the channel, which is dropped when the tree goes down.
#[derive(Message)]
#[rtype(result = "bool")]
pub(in crate::actors) struct Request(pub(in crate::actors) Command, pub(in crate::actors) oneshot::Sender<Reply>);

impl Handler<Request> for Account {
    /// False when too many commands wait.
    type Result = bool;

    fn handle(&mut self, Request(command, reply): Request, ctx: &mut Self::Context) -> bool {
        if self.replies.len() >= MAX_COMMANDS || self.drained.is_some() {
            return false;
        }
        let token = self.token(reply);
        self.inputs.push_back((Input::Command(command, token), None));
        self.pump(ctx);
        true
    }
}

/// The fleet looks whether the tree is alive.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Beat;

impl Handler<Beat> for Account {
    type Result = ();

    fn handle(&mut self, _: Beat, _: &mut Self::Context) {
        self.pulse.beat();
    }
}

/// The fleet has loaded the account anew elsewhere: this tree is to end.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Abandoned;

impl Handler<Abandoned> for Account {
    type Result = ();

    fn handle(&mut self, _: Abandoned, ctx: &mut Self::Context) {
        self.reported = true;
        self.link = None;
        self.replies.clear();
        ctx.stop();
    }
}

/// The server stops: what was accepted is finished, what comes in is left to the service, which delivers it again.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Drain(pub(in crate::actors) oneshot::Sender<()>);

impl Handler<Drain> for Account {
    type Result = ();

    fn handle(&mut self, Drain(drained): Drain, ctx: &mut Self::Context) {
        self.drained = Some(drained);
        self.inputs.retain(|(input, _)| matches!(input, Input::Command(..)));
        self.pump(ctx);
    }
}

/// Something from the link; the credit is returned when its turn is done.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct LinkInput {
    pub(in crate::actors) input: Input,
    pub(in crate::actors) credit: OwnedSemaphorePermit,
}

impl Handler<LinkInput> for Account {
    type Result = ();

    fn handle(&mut self, LinkInput { input, credit }: LinkInput, ctx: &mut Self::Context) {
        if self.drained.is_some() {
            return;
        }
        self.inputs.push_back((input, Some(credit)));
        self.pump(ctx);
    }
}

/// The link has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct LinkDown {
    pub(in crate::actors) generation: Generation,
    pub(in crate::actors) why: String,
    pub(in crate::actors) panicked: bool,
}

impl Handler<LinkDown> for Account {
    type Result = ();

    fn handle(&mut self, LinkDown { generation, why, panicked }: LinkDown, ctx: &mut Self::Context) {
        if panicked {
            self.fail(&format!("the link went down: {why}"), ctx);
            return;
        }
        self.inputs.push_back((Input::Disconnected(generation, why), None));
        self.pump(ctx);
    }
}
