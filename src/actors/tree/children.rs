//! A child: the mailbox of one machine. An ask is a method call, carried as a closure.

use crate::account::{
    self, Asked, ChildDown, Children, DeviceSync, Job, Machines, OwnDevice, PreKeys, SenderKeys, SessionCipher,
};
use crate::actors::supervision::boundary::guard;
use crate::actors::supervision::heartbeat::Heartbeat;
use crate::actors::tree::group_cache::{GroupCache, RecentGroups};
use crate::base::hooks::{Hooks, Point};
use crate::base::ids::AccountId;
use crate::storage::AccountStore;
use actix::{Actor, ActorContext, Addr, Context, Handler, Message};
use rand::rngs::StdRng;
use std::sync::Arc;
use tokio::sync::oneshot;

/// One call of the machine.
#[derive(Message)]
#[rtype(result = "()")]
struct Ask<M>(Box<dyn FnOnce(&mut M) + Send>);

/// The actor around a machine. A panic drops the machine and stops the actor; the account then reloads the whole tree.
struct Child<M> {
    point: Point,
    account: AccountId,
    /// Boxed, for it moves out for each call and back. `None` after a panic.
    machine: Option<Box<M>>,
    hooks: Arc<dyn Hooks>,
    heartbeat: Heartbeat,
}

impl<M: Unpin + 'static> Actor for Child<M> {
    type Context = Context<Self>;
}

impl<M: Unpin + 'static> Handler<Ask<M>> for Child<M> {
    type Result = ();

    fn handle(&mut self, Ask(ask): Ask<M>, ctx: &mut Self::Context) {
        let Some(mut machine) = self.machine.take() else { return };
        let (hooks, point, account, heartbeat) = (&self.hooks, self.point, &self.account, &self.heartbeat);
        let answered = guard(move || {
            heartbeat.run(|| {
                hooks.reach(point, account.as_str());
                ask(&mut machine);
            });
            machine
        });
        match answered {
            Ok(machine) => self.machine = Some(machine),
            Err(panic) => {
                tracing::error!(account = %self.account, child = %self.point, %panic, "child panicked");
                ctx.stop();
            }
        }
    }
}

/// An account's children, as its router reaches them.
pub(in crate::actors) struct ChildActors {
    sessions: Addr<Child<SessionCipher>>,
    sender_keys: Addr<Child<SenderKeys>>,
    devices: Addr<Child<DeviceSync>>,
    prekeys: Addr<Child<PreKeys>>,
}

impl ChildActors {
    /// Starts the children on this arbiter.
    pub(in crate::actors) fn start(
        account: &AccountId,
        store: &AccountStore,
        device: &OwnDevice,
        rng: &mut StdRng,
        cache: GroupCache,
        signs: (&Arc<dyn Hooks>, &Heartbeat),
    ) -> Self {
        let recency = Box::new(RecentGroups::new(cache));
        let Machines { sessions, sender_keys, devices, prekeys } = Machines::load(store, device, rng, recency);
        Self {
            sessions: shell(Point::SessionCipher, account, sessions, signs),
            sender_keys: shell(Point::SenderKeys, account, sender_keys, signs),
            devices: shell(Point::DeviceSync, account, devices, signs),
            prekeys: shell(Point::PreKeys, account, prekeys, signs),
        }
    }
}

fn shell<M: Unpin + 'static>(
    point: Point,
    account: &AccountId,
    machine: M,
    (hooks, heartbeat): (&Arc<dyn Hooks>, &Heartbeat),
) -> Addr<Child<M>> {
    Child {
        point,
        account: account.clone(),
        machine: Some(Box::new(machine)),
        hooks: hooks.clone(),
        heartbeat: heartbeat.clone(),
    }
    .start()
}

async fn call<M: Unpin + 'static>(child: &Addr<Child<M>>, name: &'static str, job: Job<M>) -> Result<(), ChildDown> {
    let (done, answered) = oneshot::channel();
    let ask = Ask(Box::new(move |machine: &mut M| {
        job(machine);
        // The router is gone when nothing waits: then the answer is void.
        let _ = done.send(());
    }));
    let down = ChildDown { child: name };
    child.try_send(ask).map_err(|_| down)?;
    answered.await.map_err(|_| down)
}

impl Children for ChildActors {
    fn ask(&mut self, ask: account::Ask) -> Asked<'_> {
        match ask {
            account::Ask::Sessions(job) => Box::pin(call(&self.sessions, "session cipher", job)),
            account::Ask::SenderKeys(job) => Box::pin(call(&self.sender_keys, "sender keys", job)),
            account::Ask::Devices(job) => Box::pin(call(&self.devices, "device sync", job)),
            account::Ask::PreKeys(job) => Box::pin(call(&self.prekeys, "prekeys", job)),
        }
    }
}
