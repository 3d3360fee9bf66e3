//! The fleet's report that a tree has ended.

use crate::base::ids::{AccountId, Generation};
use actix::{Message, Recipient};

/// A tree has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct TreeDown {
    pub(in crate::actors) account: AccountId,
    pub(in crate::actors) generation: Generation,
    pub(in crate::actors) why: String,
}

/// Reports the end of a tree once. Dropped before that, it reports an unexpected end: a panic outside the guarded turn.
pub(in crate::actors) struct DownReport {
    account: AccountId,
    generation: Generation,
    fleet: Recipient<TreeDown>,
    is_sent: bool,
}

impl DownReport {
    pub(in crate::actors) fn new(account: AccountId, generation: Generation, fleet: Recipient<TreeDown>) -> Self {
        Self { account, generation, fleet, is_sent: false }
    }

    fn down(&self, why: &str) -> TreeDown {
        TreeDown { account: self.account.clone(), generation: self.generation, why: why.to_owned() }
    }

    /// Sends the report; false when it was sent or withheld before.
    pub(in crate::actors) fn send(&mut self, why: &str) -> bool {
        if self.withhold() {
            return false;
        }
        let (down, fleet) = (self.down(why), self.fleet.clone());
        actix::spawn(async move {
            // The fleet is only gone at shutdown.
            let _ = fleet.send(down).await;
        });
        true
    }

    /// Suppresses the report: the fleet ended the tree itself. True when it was sent or withheld before.
    pub(in crate::actors) fn withhold(&mut self) -> bool {
        std::mem::replace(&mut self.is_sent, true)
    }
}

impl Drop for DownReport {
    fn drop(&mut self) {
        if !self.is_sent {
            // The fleet is only gone at shutdown, when it restarts no trees.
            let _ = self.fleet.try_send(self.down("the account's actor ended unexpectedly"));
        }
    }
}
