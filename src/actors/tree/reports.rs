//! The report of a tree that has ended, for the fleet.

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

/// Reports the end of a tree once. Dropped without a report, as when a panic outside the guarded turn unwinds, it reports that.
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

    /// Reports the reason; false when there has been a report.
    pub(in crate::actors) fn send(&mut self, why: &str) -> bool {
        if self.withhold() {
            return false;
        }
        let (down, fleet) = (self.down(why), self.fleet.clone());
        actix::spawn(async move {
            // The fleet outlives every account but at shutdown.
            let _ = fleet.send(down).await;
        });
        true
    }

    /// The fleet has ended the tree itself: no report is due. True when that was known already.
    pub(in crate::actors) fn withhold(&mut self) -> bool {
        std::mem::replace(&mut self.is_sent, true)
    }
}

impl Drop for DownReport {
    fn drop(&mut self) {
        if !self.is_sent {
            // A fleet that is gone, as at shutdown, restarts nothing.
            let _ = self.fleet.try_send(self.down("the account's actor ended unexpectedly"));
        }
    }
}
