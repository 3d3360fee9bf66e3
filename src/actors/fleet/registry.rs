//! The fleet: the registry of accounts and the factory of their trees.
//!
//! Supervision is one-for-all inside an account (the whole tree restarts) and one-for-one between accounts. An account whose tree
//! fails repeatedly is quarantined, with the reason in its view, until it is started again.

use crate::account::AccountView;
use crate::actors::error::ActorError;
use crate::actors::fleet::record::{AccountInfo, AccountRecord, load_accounts};
use crate::actors::supervision::critical::CriticalActor;
use crate::actors::supervision::heartbeat::{Heartbeat, Watch as Rounds};
use crate::actors::tree::account::Account;
use crate::actors::tree::environment::Environment;
use crate::actors::tree::inputs::Drain;
use crate::base::ids::{AccountId, Generation};
use crate::base::time::Timestamp;
use crate::storage::StorageError;
use actix::{Actor, ActorFutureExt, Addr, Arbiter, AsyncContext, Context, WrapFuture};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Time that a call waits for a tree under restart.
const TREE_WAIT: Duration = Duration::from_secs(5);
/// Interval of the retention sweep over the event log.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

pub(super) struct Entry {
    pub(super) record: AccountRecord,
    pub(super) generation: Generation,
    pub(super) tree: Option<Tree>,
    pub(super) view: watch::Sender<AccountView>,
    pub(super) restarts: VecDeque<Timestamp>,
    pub(super) quarantine: Option<String>,
    /// Under erasure: the id stays reserved until that is done, and the tree is not started.
    pub(super) deleting: bool,
    /// Calls that wait for a tree.
    pub(super) waiting: Vec<oneshot::Sender<Addr<Account>>>,
}

/// The fleet's handle of a tree.
pub(super) struct Tree {
    pub(super) address: Addr<Account>,
    pub(super) heartbeat: Heartbeat,
    pub(super) watch: Rounds,
    /// Index of its thread.
    pub(super) arbiter: usize,
}

impl Tree {
    /// Resolves when the tree has finished accepted commands and ended.
    pub(super) async fn drain(self) {
        let (done, drained) = oneshot::channel();
        // A closed mailbox means the tree has already stopped.
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
    /// The server stops: no tree is started.
    pub(super) stopping: bool,
    pub(super) _critical: CriticalActor,
}

impl Fleet {
    /// Loads the list of accounts; their trees start with the actor.
    pub(in crate::actors) fn load(
        environment: Environment,
        arbiters: usize,
        critical: CriticalActor,
    ) -> Result<Self, StorageError> {
        let stored = load_accounts(&environment.store.records)?;
        let accounts = stored.into_iter().map(|(id, record)| (id, Entry::new(record))).collect();
        let arbiters = (0..arbiters.max(1)).map(|_| Arbiter::new()).collect();
        Ok(Self { environment, arbiters, next_arbiter: 0, accounts, stopping: false, _critical: critical })
    }

    pub(super) fn info(id: &AccountId, entry: &Entry) -> AccountInfo {
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
                tracing::error!(account = %id, %error, "account cannot be started");
                return;
            }
            fleet.start_tree(&id, generation, ctx);
        }));
    }

    fn start_tree(&mut self, id: &AccountId, generation: Generation, ctx: &mut Context<Self>) {
        self.next_arbiter = (self.next_arbiter + 1) % self.arbiters.len();
        let Some(entry) = self.accounts.get_mut(id).filter(|entry| entry.generation == generation) else { return };
        let (environment, fleet, view) = (self.environment.clone(), ctx.address().recipient(), entry.view.clone());
        let heartbeat = Heartbeat::default();
        let signs = heartbeat.clone();
        let (account, key, options) = (id.clone(), entry.record.key, entry.record.options.clone());
        let address = Account::start_in_arbiter(&self.arbiters[self.next_arbiter].handle(), move |_| {
            Account::new(account, (key, generation), environment, fleet, (view, signs), options)
        });
        for waiting in entry.waiting.drain(..) {
            // A caller that has gone needs no tree.
            let _ = waiting.send(address.clone());
        }
        entry.tree = Some(Tree { address, heartbeat, watch: Rounds::default(), arbiter: self.next_arbiter });
    }
}

impl Entry {
    pub(super) fn new(record: AccountRecord) -> Self {
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

    /// The tree, now or after its restart.
    pub(super) fn tree(&mut self) -> impl Future<Output = Result<Addr<Account>, ActorError>> + use<> {
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
        self.listen_later(ctx);
    }
}
