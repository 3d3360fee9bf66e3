//! The fleet: every account of the process, its tree's factory, and what happens when a tree goes down.
//!
//! Inside an account it is all for one: the tree is loaded anew. Between accounts one for one. A tree that keeps going down
//! is quarantined, with the reason shown, until somebody starts it again.

use super::ActorError;
use super::account::{Abandoned, Account, Beat, Drain, Environment, Request};
use super::pulse::{Pulse, Stuck};
use super::remembered::{Remembered, put_remembered};
use super::vital::Vital;
use crate::account::{AccountState, AccountView, Command, Device, Reply};
use crate::base::counts::Counts;
use crate::base::hooks::Point;
use crate::base::ids::{AccountId, AccountKey, Generation};
use crate::base::time::Timestamp;
use crate::storage::{AccountStore, ChangeSet, Overlay, Records, StorageError, kind, owner};
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, Arbiter, AsyncContext, Context, Handler, Message, ResponseActFuture,
    WrapFuture,
};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// More restarts than this within the window quarantine an account.
const MAX_RESTARTS: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_secs(60);
/// How long a call waits for a tree that is being loaded.
const TREE_WAIT: Duration = Duration::from_secs(5);
const RESTART_WAIT: Duration = Duration::from_millis(100);
/// How long a deleted account may take to be logged out, and to end.
const LOGOUT_WAIT: Duration = Duration::from_secs(5);
/// How often old events are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);
const FORMAT: u8 = 1;

/// An account's record.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct AccountRecord {
    key: AccountKey,
    label: Option<String>,
    metadata: Map<String, Value>,
    created_at: Timestamp,
}

/// An account as the outside sees it.
#[derive(Debug, Clone)]
pub struct AccountInfo {
    pub id: AccountId,
    pub label: Option<String>,
    pub metadata: Map<String, Value>,
    pub created_at: Timestamp,
    /// Trees that went down within the last minute.
    pub restarts: usize,
    pub view: AccountView,
}

fn load_accounts(records: &Records) -> Result<Vec<(AccountId, AccountRecord)>, StorageError> {
    let mut accounts = Vec::new();
    for (key, value) in records.scan(AccountKey::SERVER, kind::ACCOUNT, &[], None, usize::MAX)? {
        let corrupt = || StorageError::Corrupt { kind: kind::ACCOUNT.code(), key: hex::encode(&key), what: "account" };
        let id = std::str::from_utf8(&key).ok().and_then(|id| AccountId::parse(id).ok()).ok_or_else(corrupt)?;
        let json = value.split_first().filter(|(format, _)| **format == FORMAT).map(|(_, json)| json);
        let record = json.and_then(|json| serde_json::from_slice(json).ok()).ok_or_else(corrupt)?;
        accounts.push((id, record));
    }
    Ok(accounts)
}

/// All accounts of a store, with the keys that their records are filed under.
pub fn stored_accounts(records: &Records) -> Result<Vec<(AccountId, AccountKey)>, StorageError> {
    Ok(load_accounts(records)?.into_iter().map(|(id, record)| (id, record.key)).collect())
}

struct Entry {
    record: AccountRecord,
    generation: Generation,
    tree: Option<Tree>,
    view: watch::Sender<AccountView>,
    restarts: VecDeque<Timestamp>,
    quarantine: Option<String>,
    /// Calls that came while there was no tree.
    waiting: Vec<oneshot::Sender<Addr<Account>>>,
}

/// A tree as the fleet holds it.
struct Tree {
    address: Addr<Account>,
    pulse: Pulse,
    /// Which of the fleet's threads it lives on.
    arbiter: usize,
}

pub struct Fleet {
    environment: Environment,
    arbiters: Vec<Arbiter>,
    next_arbiter: usize,
    accounts: BTreeMap<AccountId, Entry>,
    /// Nothing is started any more.
    stopping: bool,
    _vital: Vital,
}

impl Fleet {
    /// Loads the list of accounts; their trees start with the actor.
    pub(super) fn load(environment: Environment, arbiters: usize, vital: Vital) -> Result<Self, StorageError> {
        let stored = load_accounts(&environment.store.records)?;
        let accounts = stored.into_iter().map(|(id, record)| (id, Entry::new(record))).collect();
        let arbiters = (0..arbiters.max(1)).map(|_| Arbiter::new()).collect();
        Ok(Self { environment, arbiters, next_arbiter: 0, accounts, stopping: false, _vital: vital })
    }

    fn info(id: &AccountId, entry: &Entry) -> AccountInfo {
        AccountInfo {
            id: id.clone(),
            label: entry.record.label.clone(),
            metadata: entry.record.metadata.clone(),
            created_at: entry.record.created_at,
            restarts: entry.restarts.len(),
            view: entry.view.borrow().clone(),
        }
    }

    /// Fences off the old tree, then starts a fresh one.
    fn launch(&mut self, id: &AccountId, ctx: &mut Context<Self>) {
        let Some(entry) = self.accounts.get_mut(id).filter(|_| !self.stopping) else { return };
        entry.generation = entry.generation.next();
        let (key, generation) = (entry.record.key, entry.generation);
        let fenced = self.environment.store.begin(key, generation);
        let id = id.clone();
        ctx.spawn(fenced.into_actor(self).map(move |result, fleet, ctx| {
            if let Err(error) = result {
                tracing::error!(account = %id, %error, "an account cannot be started");
                return;
            }
            fleet.start_tree(&id, generation, ctx);
        }));
    }

    /// Gives up trees that show no sign of life, and asks the others for one.
    fn listen(&mut self, ctx: &mut Context<Self>) {
        let (now, patience) = (self.environment.clock.now(), self.environment.patience);
        let mut stuck = Vec::new();
        for (id, entry) in &self.accounts {
            let Some(tree) = &entry.tree else { continue };
            match tree.pulse.stuck(now, patience) {
                // A mailbox that is full will be tried again; the silence counts.
                None => drop(tree.address.try_send(Beat)),
                Some(what) => stuck.push((id.clone(), entry.generation, what, tree.arbiter)),
            }
        }
        let blocked: BTreeSet<usize> =
            stuck.iter().filter(|(.., what, _)| *what == Stuck::Thread).map(|(.., arbiter)| *arbiter).collect();
        for arbiter in blocked {
            // The thread cannot be ended; what lived on it moves to a new one.
            tracing::error!("a thread of the fleet is blocked and replaced");
            self.arbiters[arbiter] = Arbiter::new();
        }
        self.environment.metrics.stuck.inc_by(stuck.len() as u64);
        for (account, generation, what, _) in stuck {
            let Some(entry) = self.accounts.get_mut(&account) else { continue };
            if let Some(tree) = entry.tree.take() {
                if let Some(stanza) = tree.pulse.stanza() {
                    // It comes back at the next connection: after the second time it is set aside.
                    self.environment.count_poison(entry.record.key, generation, stanza);
                }
                // It ends when it can; whatever it still commits is fenced off.
                let _ = tree.address.try_send(Abandoned);
            }
            self.handle(TreeDown { account, generation, why: what.why().to_owned() }, ctx);
        }
    }

    /// Replaces the data keys of these accounts, one after the other, in the background.
    fn rotate_data_keys(&self, accounts: Vec<AccountKey>, ctx: &mut Context<Self>) {
        let store = self.environment.store.clone();
        let rotating = async move {
            for account in &accounts {
                store.rotate_data_key(*account).await?;
            }
            Ok::<_, StorageError>(accounts.len())
        };
        ctx.spawn(rotating.into_actor(self).map(|result, _, _| match result {
            Ok(0) => {}
            Ok(accounts) => tracing::info!(accounts, "data keys were replaced"),
            Err(error) => tracing::error!(%error, "data keys cannot be replaced; the next start goes on"),
        }));
    }

    /// The server's own key, and those of all accounts.
    fn all_keys(&self) -> Vec<AccountKey> {
        [AccountKey::SERVER].into_iter().chain(self.accounts.values().map(|entry| entry.record.key)).collect()
    }

    /// Rotations and erasures that a crash has cut short.
    fn finish_upkeep(&self, ctx: &mut Context<Self>) {
        let records = &self.environment.store.records;
        // One that cannot be asked is reported when it is read.
        let begun = self.all_keys().into_iter().filter(|key| records.is_rotating(*key).unwrap_or_default());
        self.rotate_data_keys(begun.collect(), ctx);
        let store = self.environment.store.clone();
        let erasing = async move {
            for account in store.erasures()? {
                let counts = store.erase(account).await?;
                tracing::info!(?counts, "the erasure of an account that was cut short is done");
            }
            Ok::<_, StorageError>(())
        };
        ctx.spawn(erasing.into_actor(self).map(|result, _, _| {
            if let Err(error) = result {
                tracing::error!(%error, "an erasure cannot be finished; the next start tries again");
            }
        }));
    }

    /// Drops events that are older than the settings say.
    fn sweep(&mut self, ctx: &mut Context<Self>) {
        let Environment { store, clock, keep_events, .. } = self.environment.clone();
        let now = clock.now();
        let before = Timestamp(now.0.saturating_sub(u64::try_from(keep_events.as_millis()).unwrap_or(u64::MAX)));
        let swept = async move { store.sweep(before, now).await };
        ctx.spawn(swept.into_actor(self).map(|swept, _, _| match swept {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "old events were dropped"),
            Err(error) => tracing::error!(%error, "old events cannot be dropped"),
        }));
    }

    fn start_tree(&mut self, id: &AccountId, generation: Generation, ctx: &mut Context<Self>) {
        self.next_arbiter = (self.next_arbiter + 1) % self.arbiters.len();
        let Some(entry) = self.accounts.get_mut(id).filter(|entry| entry.generation == generation) else { return };
        let (environment, fleet, view) = (self.environment.clone(), ctx.address(), entry.view.clone());
        let pulse = Pulse::new(environment.clock.now());
        let signs = pulse.clone();
        let (account, key) = (id.clone(), entry.record.key);
        let address = Account::start_in_arbiter(&self.arbiters[self.next_arbiter].handle(), move |_| {
            Account::new(account, key, generation, environment, fleet, (view, signs))
        });
        for waiting in entry.waiting.drain(..) {
            // A caller that has gone needs no tree.
            let _ = waiting.send(address.clone());
        }
        entry.tree = Some(Tree { address, pulse, arbiter: self.next_arbiter });
    }
}

impl Entry {
    fn new(record: AccountRecord) -> Self {
        let view = watch::Sender::new(AccountView::default());
        Self {
            record,
            generation: Generation::default(),
            tree: None,
            view,
            restarts: VecDeque::new(),
            quarantine: None,
            waiting: Vec::new(),
        }
    }

    /// The tree, now or when it stands.
    fn tree(&mut self) -> impl Future<Output = Result<Addr<Account>, ActorError>> + use<> {
        let (sender, standing) = oneshot::channel();
        match &self.tree {
            Some(tree) => drop(sender.send(tree.address.clone())),
            None => self.waiting.push(sender),
        }
        async move {
            let standing = tokio::time::timeout(TREE_WAIT, standing).await;
            standing.ok().and_then(Result::ok).ok_or(ActorError::Restarting)
        }
    }
}

impl Actor for Fleet {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4096);
        for id in self.accounts.keys().cloned().collect::<Vec<_>>() {
            self.launch(&id, ctx);
        }
        self.finish_upkeep(ctx);
        self.sweep(ctx);
        ctx.run_interval(SWEEP_EVERY, Self::sweep);
        ctx.run_interval(self.environment.patience / 4, Self::listen);
    }
}

/// A tree has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct TreeDown {
    pub(super) account: AccountId,
    pub(super) generation: Generation,
    pub(super) why: String,
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
            tracing::error!(%account, why, "an account is quarantined");
            entry.quarantine = Some(why.clone());
            entry.waiting.clear();
            entry.view.send_modify(|view| {
                view.state = AccountState::Quarantined;
                view.reason = Some(why);
            });
            return;
        }
        tracing::warn!(%account, why, restarts = entry.restarts.len(), "an account's tree went down and is loaded anew");
        let doublings = u32::try_from(entry.restarts.len()).unwrap_or(u32::MAX).saturating_sub(1).min(10);
        ctx.run_later(RESTART_WAIT * 2u32.pow(doublings), move |fleet, ctx| fleet.launch(&account, ctx));
    }
}

/// Ends every tree: each finishes what it has accepted, within this time. True when all did.
#[derive(Message)]
#[rtype(result = "bool")]
pub(super) struct ShutDown(pub(super) Duration);

impl Handler<ShutDown> for Fleet {
    type Result = ResponseActFuture<Self, bool>;

    fn handle(&mut self, ShutDown(within): ShutDown, _: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        let trees: Vec<_> = self.accounts.values_mut().filter_map(|entry| entry.tree.take()).collect();
        let drained = trees.into_iter().map(|Tree { address: tree, .. }| async move {
            let (done, drained) = oneshot::channel();
            // One that is gone has nothing left to do.
            if tree.send(Drain(done)).await.is_ok() {
                let _ = drained.await;
            }
        });
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

/// Makes the answer to a creation out of what was created.
type Remember = Box<dyn FnOnce(&AccountInfo) -> Option<Remembered> + Send>;

/// Creates an account: its keys first, then its place in the list.
#[derive(Message)]
#[rtype(result = "Result<AccountInfo, ActorError>")]
pub(super) struct Create {
    pub(super) id: AccountId,
    pub(super) label: Option<String>,
    pub(super) metadata: Map<String, Value>,
    /// The answer to be stored with the account.
    pub(super) remember: Remember,
}

impl Handler<Create> for Fleet {
    type Result = ResponseActFuture<Self, Result<AccountInfo, ActorError>>;

    fn handle(&mut self, Create { id, label, metadata, remember }: Create, _: &mut Self::Context) -> Self::Result {
        if self.accounts.contains_key(&id) {
            return Box::pin(async move { Err(ActorError::AccountExists(id.to_string())) }.into_actor(self));
        }
        let Environment { store, clock, entropy, .. } = self.environment.clone();
        let mut rng = entropy.fork();
        let record = AccountRecord { key: AccountKey::generate(&mut rng), label, metadata, created_at: clock.now() };
        // Its place is taken at once, so that a second request for the same id is refused.
        let entry = Entry::new(record.clone());
        let info = Self::info(&id, &entry);
        let remembered = remember(&info);
        self.accounts.insert(id.clone(), entry);
        let named = id.clone();
        let written = async move {
            let records = AccountStore::new(store.records.clone(), record.key, Overlay::default());
            let (_, changes) = Device::load_or_create(&records, &mut rng)?;
            store.commit(record.key, Generation::default(), changes).await?;
            let mut value = vec![FORMAT];
            let json = serde_json::to_vec(&record)
                .map_err(|error| StorageError::Engine { action: "write an account", why: error.to_string() })?;
            value.extend(json);
            let mut writes = ChangeSet::<owner::Server>::default();
            writes.put(kind::ACCOUNT, named.as_str(), value);
            put_remembered(&mut writes, remembered);
            store.commit_server(writes).await?;
            Ok::<_, ActorError>(())
        };
        Box::pin(written.into_actor(self).map(move |result, fleet, ctx| {
            if let Err(error) = result {
                fleet.accounts.remove(&id);
                return Err(error);
            }
            fleet.launch(&id, ctx);
            Ok(info)
        }))
    }
}

/// Logs an account out where that is possible, ends its tree, and erases everything of it.
#[derive(Message)]
#[rtype(result = "Result<Counts, ActorError>")]
pub(super) struct Delete(pub(super) AccountId);

impl Handler<Delete> for Fleet {
    type Result = ResponseActFuture<Self, Result<Counts, ActorError>>;

    fn handle(&mut self, Delete(id): Delete, _: &mut Self::Context) -> Self::Result {
        let Some(entry) = self.accounts.get_mut(&id) else {
            return Box::pin(async move { Err(ActorError::NoAccount(id.to_string())) }.into_actor(self));
        };
        // Its name is taken until everything is gone; nothing starts it any more.
        entry.quarantine = Some("the account is being deleted".to_owned());
        entry.generation = entry.generation.next();
        let (key, generation, tree) = (entry.record.key, entry.generation, entry.tree.take());
        let store = self.environment.store.clone();
        let named = id.clone();
        let erased = async move {
            if let Some(Tree { address: tree, .. }) = tree {
                let (reply, replied) = oneshot::channel();
                if tree.send(Request(Command::Logout, reply)).await == Ok(true) {
                    // A service that does not answer in time will find the device dead.
                    let _ = tokio::time::timeout(LOGOUT_WAIT, replied).await;
                }
                let (done, drained) = oneshot::channel();
                if tree.send(Drain(done)).await.is_ok() {
                    let _ = tokio::time::timeout(LOGOUT_WAIT, drained).await;
                }
            }
            store.begin(key, generation).await?;
            store.begin_erasure(&named, key).await?;
            Ok::<_, ActorError>(store.erase(key).await?)
        };
        Box::pin(erased.into_actor(self).map(move |erased, fleet, _| {
            // An erasure that failed goes on with the next start.
            fleet.accounts.remove(&id);
            erased
        }))
    }
}

/// Has all data keys replaced in the background. Returns how many.
#[derive(Message)]
#[rtype(result = "usize")]
pub(super) struct RotateDataKeys;

impl Handler<RotateDataKeys> for Fleet {
    type Result = usize;

    fn handle(&mut self, _: RotateDataKeys, ctx: &mut Self::Context) -> usize {
        let accounts = self.all_keys();
        let count = accounts.len();
        self.rotate_data_keys(accounts, ctx);
        count
    }
}

/// One account, or all.
#[derive(Message)]
#[rtype(result = "Vec<AccountInfo>")]
pub(super) struct List(pub(super) Option<AccountId>);

impl Handler<List> for Fleet {
    type Result = Vec<AccountInfo>;

    fn handle(&mut self, List(one): List, _: &mut Self::Context) -> Self::Result {
        let wanted = self.accounts.iter().filter(|(id, _)| one.as_ref().is_none_or(|one| one == *id));
        wanted.map(|(id, entry)| Self::info(id, entry)).collect()
    }
}

/// Watches an account's view.
#[derive(Message)]
#[rtype(result = "Result<watch::Receiver<AccountView>, ActorError>")]
pub(super) struct Watch(pub(super) AccountId);

impl Handler<Watch> for Fleet {
    type Result = Result<watch::Receiver<AccountView>, ActorError>;

    fn handle(&mut self, Watch(id): Watch, _: &mut Self::Context) -> Self::Result {
        let entry = self.accounts.get(&id).ok_or_else(|| ActorError::NoAccount(id.to_string()))?;
        Ok(entry.view.subscribe())
    }
}

/// The internal key of an account.
#[derive(Message)]
#[rtype(result = "Result<AccountKey, ActorError>")]
pub(super) struct KeyOf(pub(super) AccountId);

impl Handler<KeyOf> for Fleet {
    type Result = Result<AccountKey, ActorError>;

    fn handle(&mut self, KeyOf(id): KeyOf, _: &mut Self::Context) -> Self::Result {
        self.accounts.get(&id).map(|entry| entry.record.key).ok_or_else(|| ActorError::NoAccount(id.to_string()))
    }
}

/// Has an account's tree carry out a command.
#[derive(Message)]
#[rtype(result = "Result<Reply, ActorError>")]
pub(super) struct Call(pub(super) AccountId, pub(super) Command);

impl Handler<Call> for Fleet {
    type Result = ResponseActFuture<Self, Result<Reply, ActorError>>;

    fn handle(&mut self, Call(id, command): Call, ctx: &mut Self::Context) -> Self::Result {
        let Some(entry) = self.accounts.get_mut(&id) else {
            return Box::pin(async move { Err(ActorError::NoAccount(id.to_string())) }.into_actor(self));
        };
        let released = matches!(command, Command::Start) && entry.quarantine.take().is_some();
        if let Some(why) = entry.quarantine.clone() {
            return Box::pin(async move { Err(ActorError::Quarantined(why)) }.into_actor(self));
        }
        let tree = entry.tree();
        if released {
            entry.restarts.clear();
            self.launch(&id, ctx);
        }
        let call = async move {
            let tree = tree.await?;
            let (reply, answered) = oneshot::channel();
            let taken = tree.send(Request(command, reply)).await.map_err(|_| ActorError::Restarting)?;
            if !taken {
                return Err(ActorError::Busy);
            }
            answered.await.map_err(|_| ActorError::Restarting)
        };
        Box::pin(call.into_actor(self))
    }
}
