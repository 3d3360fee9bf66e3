//! The fleet: every account of the process, its tree's factory, and what happens when a tree goes down.
//!
//! Inside an account it is all for one: the tree is loaded anew. Between accounts one for one. A tree that keeps going down
//! is quarantined, with the reason shown, until somebody starts it again.

use crate::account::{AccountView, Command, Device, Reply};
use crate::actors::committer::idempotency::{Remembered, put_remembered};
use crate::actors::error::ActorError;
use crate::actors::fleet::renewal::AccountOptions;
use crate::actors::supervision::critical::Vital;
use crate::actors::supervision::heartbeat::{Pulse, ROUNDS, Watch as Rounds};
use crate::actors::tree::account::{Account, Drain, Environment, Request};
use crate::base::ids::{AccountId, AccountKey, Generation};
use crate::base::time::Timestamp;
use crate::storage::{AccountStore, Overlay, Records, StorageError, kind};
use actix::{
    Actor, ActorFutureExt, Addr, Arbiter, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How long a call waits for a tree that is being loaded.
const TREE_WAIT: Duration = Duration::from_secs(5);
/// How often old events are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);
pub(super) const FORMAT: u8 = 1;

/// An account's record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AccountRecord {
    pub(super) key: AccountKey,
    pub(super) label: Option<String>,
    pub(super) metadata: Map<String, Value>,
    pub(super) created_at: Timestamp,
    #[serde(default)]
    pub(super) options: AccountOptions,
}

/// An account as the outside sees it.
#[derive(Debug, Clone)]
pub struct AccountInfo {
    pub id: AccountId,
    pub label: Option<String>,
    pub metadata: Map<String, Value>,
    pub created_at: Timestamp,
    pub options: AccountOptions,
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

pub(super) struct Entry {
    pub(super) record: AccountRecord,
    pub(super) generation: Generation,
    pub(super) tree: Option<Tree>,
    pub(super) view: watch::Sender<AccountView>,
    pub(super) restarts: VecDeque<Timestamp>,
    pub(super) quarantine: Option<String>,
    /// It is being erased: its name is taken until that is done, and nothing starts it any more.
    pub(super) deleting: bool,
    /// Calls that came while there was no tree.
    pub(super) waiting: Vec<oneshot::Sender<Addr<Account>>>,
}

/// A tree as the fleet holds it.
pub(super) struct Tree {
    pub(super) address: Addr<Account>,
    pub(super) pulse: Pulse,
    pub(super) watch: Rounds,
    /// Which of the fleet's threads it lives on.
    pub(super) arbiter: usize,
}

impl Tree {
    /// Resolves when the tree has finished what it accepted, and ended.
    pub(super) async fn drain(self) {
        let (done, drained) = oneshot::channel();
        // One that is gone has nothing left to do.
        if self.address.send(Drain(done)).await.is_ok() {
            let _ = drained.await;
        }
    }
}

pub struct Fleet {
    pub(super) environment: Environment,
    pub(super) arbiters: Vec<Arbiter>,
    pub(super) next_arbiter: usize,
    pub(super) accounts: BTreeMap<AccountId, Entry>,
    /// Nothing is started any more.
    pub(super) stopping: bool,
    pub(super) _vital: Vital,
}

impl Fleet {
    /// Loads the list of accounts; their trees start with the actor.
    pub(in crate::actors) fn load(
        environment: Environment,
        arbiters: usize,
        vital: Vital,
    ) -> Result<Self, StorageError> {
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
            options: entry.record.options.clone(),
            restarts: entry.restarts.len(),
            view: entry.view.borrow().clone(),
        }
    }

    /// Fences off the old tree, then starts a fresh one.
    pub(super) fn launch(&mut self, id: &AccountId, ctx: &mut Context<Self>) {
        let Some(entry) = self.accounts.get_mut(id).filter(|entry| !self.stopping && !entry.deleting) else {
            return;
        };
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

    fn start_tree(&mut self, id: &AccountId, generation: Generation, ctx: &mut Context<Self>) {
        self.next_arbiter = (self.next_arbiter + 1) % self.arbiters.len();
        let Some(entry) = self.accounts.get_mut(id).filter(|entry| entry.generation == generation) else { return };
        let (environment, fleet, view) = (self.environment.clone(), ctx.address(), entry.view.clone());
        let pulse = Pulse::default();
        let signs = pulse.clone();
        let (account, key, options) = (id.clone(), entry.record.key, entry.record.options.clone());
        let address = Account::start_in_arbiter(&self.arbiters[self.next_arbiter].handle(), move |_| {
            Account::new(account, (key, generation), environment, fleet, (view, signs), options)
        });
        for waiting in entry.waiting.drain(..) {
            // A caller that has gone needs no tree.
            let _ = waiting.send(address.clone());
        }
        entry.tree = Some(Tree { address, pulse, watch: Rounds::default(), arbiter: self.next_arbiter });
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
            deleting: false,
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
        ctx.run_interval(self.environment.patience / ROUNDS, Self::listen);
    }
}

/// Makes the answer to a creation out of what was created.
type Remember = Box<dyn FnOnce(&AccountInfo) -> Option<Remembered> + Send>;

/// Creates an account: its keys first, then its place in the list.
#[derive(Message)]
#[rtype(result = "Result<AccountInfo, ActorError>")]
pub(in crate::actors) struct Create {
    pub(in crate::actors) id: AccountId,
    pub(in crate::actors) label: Option<String>,
    pub(in crate::actors) metadata: Map<String, Value>,
    /// The answer to be stored with the account.
    pub(in crate::actors) remember: Remember,
}

impl Handler<Create> for Fleet {
    type Result = ResponseActFuture<Self, Result<AccountInfo, ActorError>>;

    fn handle(&mut self, Create { id, label, metadata, remember }: Create, _: &mut Self::Context) -> Self::Result {
        if self.accounts.contains_key(&id) {
            return Box::pin(async move { Err(ActorError::AccountExists(id.to_string())) }.into_actor(self));
        }
        let Environment { store, clock, entropy, .. } = self.environment.clone();
        let mut rng = entropy.fork();
        let record = AccountRecord {
            key: AccountKey::generate(&mut rng),
            label,
            metadata,
            created_at: clock.now(),
            options: AccountOptions::default(),
        };
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
            let mut writes = record.to_writes(&named)?;
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

/// One account, or all.
#[derive(Message)]
#[rtype(result = "Vec<AccountInfo>")]
pub(in crate::actors) struct List(pub(in crate::actors) Option<AccountId>);

impl Handler<List> for Fleet {
    type Result = Vec<AccountInfo>;

    fn handle(&mut self, List(one): List, _: &mut Self::Context) -> Self::Result {
        let shown = |(id, entry): (&AccountId, &Entry)| (!entry.deleting).then(|| Self::info(id, entry));
        match one {
            Some(one) => self.accounts.get_key_value(&one).and_then(shown).into_iter().collect(),
            None => self.accounts.iter().filter_map(shown).collect(),
        }
    }
}

/// Watches an account's view.
#[derive(Message)]
#[rtype(result = "Result<watch::Receiver<AccountView>, ActorError>")]
pub(in crate::actors) struct Watch(pub(in crate::actors) AccountId);

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
pub(in crate::actors) struct KeyOf(pub(in crate::actors) AccountId);

impl Handler<KeyOf> for Fleet {
    type Result = Result<AccountKey, ActorError>;

    fn handle(&mut self, KeyOf(id): KeyOf, _: &mut Self::Context) -> Self::Result {
        self.accounts.get(&id).map(|entry| entry.record.key).ok_or_else(|| ActorError::NoAccount(id.to_string()))
    }
}

/// Has an account's tree carry out a command.
#[derive(Message)]
#[rtype(result = "Result<Reply, ActorError>")]
pub(in crate::actors) struct Call(pub(in crate::actors) AccountId, pub(in crate::actors) Command);

impl Handler<Call> for Fleet {
    type Result = ResponseActFuture<Self, Result<Reply, ActorError>>;

    fn handle(&mut self, Call(id, command): Call, ctx: &mut Self::Context) -> Self::Result {
        let Some(entry) = self.accounts.get_mut(&id).filter(|entry| !entry.deleting) else {
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
