//! Driver of an account in one thread and virtual time, for tests: the same machines, no actors.

use super::children::asks::{Ask, Asked, Children};
use super::children::device_sync::DeviceSync;
use super::children::prekeys::PreKeys;
use super::children::provision::load_or_create;
use super::children::sender_keys::{KeepAll, Recency, SenderKeys};
use super::children::session_cipher::SessionCipher;
use super::error::{AccountError, ChildDown};
use super::own_device::OwnDevice;
use super::router::{Input, Router};
use super::settings::Settings;
use super::turn::effect::Effect;
use crate::base::ids::{AccountId, AccountKey};
use crate::base::time::Moment;
use crate::storage::{AccountStore, Changes, Engine, Overlay, Records};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The children's machines in one place.
pub struct Machines {
    pub sessions: SessionCipher,
    pub sender_keys: SenderKeys,
    pub devices: DeviceSync,
    pub prekeys: PreKeys,
}

impl Machines {
    /// Loads the children of an account.
    pub fn load(store: &AccountStore, device: &OwnDevice, rng: &mut StdRng, recency: Box<dyn Recency>) -> Self {
        Self {
            sessions: SessionCipher::new(store.clone(), device.local.clone(), StdRng::from_rng(rng)),
            sender_keys: SenderKeys::new(store.clone(), StdRng::from_rng(rng), recency),
            devices: DeviceSync::new(store.clone()),
            prekeys: PreKeys::new(store.clone(), StdRng::from_rng(rng)),
        }
    }
}

impl Children for Machines {
    fn ask(&mut self, ask: Ask) -> Asked<'_> {
        match ask {
            Ask::Sessions(job) => job(&mut self.sessions),
            Ask::SenderKeys(job) => job(&mut self.sender_keys),
            Ask::Devices(job) => job(&mut self.devices),
            Ask::PreKeys(job) => job(&mut self.prekeys),
        }
        Box::pin(ready(Ok(())))
    }
}

/// One account over a memory engine, turn by turn.
pub struct Local {
    pub router: Router,
    machines: Machines,
    records: Records,
    account: AccountKey,
    /// The changes of every turn so far.
    pub committed: Vec<Changes>,
}

impl Local {
    pub fn load(
        id: AccountId,
        account: AccountKey,
        engine: Arc<dyn Engine>,
        settings: Arc<Settings>,
        mut rng: StdRng,
    ) -> Result<Self, AccountError> {
        let records = Records::new(engine);
        let store = AccountStore::new(records.clone(), account, Overlay::default());
        let (device, changes) = load_or_create(&store, &mut rng)?;
        let machines = Machines::load(&store, &device, &mut rng, Box::new(KeepAll));
        let router = Router::load(id, store, settings, device, rng)?;
        let mut local = Self { router, machines, records, account, committed: Vec::new() };
        local.commit(changes)?;
        Ok(local)
    }

    /// Takes one turn, commits it, and returns its effects.
    pub fn turn(&mut self, input: Input, now: impl Into<Moment>) -> Result<Vec<Effect>, AccountError> {
        let polled = {
            let turn = pin!(self.router.turn(input, now.into(), &mut self.machines));
            turn.poll(&mut Context::from_waker(Waker::noop()))
        };
        // The children answer at once, so the turn is done at its first poll.
        let Poll::Ready(result) = polled else {
            return Err(ChildDown { child: "local driver" }.into());
        };
        let (changes, effects) = result?;
        self.commit(changes)?;
        Ok(effects)
    }

    /// The account's committed records.
    pub fn store(&self) -> AccountStore {
        AccountStore::new(self.records.clone(), self.account, Overlay::default())
    }

    fn commit(&mut self, changes: Changes) -> Result<(), AccountError> {
        let mut batch = crate::storage::Batch::default();
        for write in changes.writes.clone() {
            self.records.stage(&mut batch, self.account, write)?;
        }
        self.records.engine().apply(batch)?;
        self.committed.push(changes);
        Ok(())
    }
}
