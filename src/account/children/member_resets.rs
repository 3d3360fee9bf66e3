//! Resets of group members: a reinstalled user lacks every sender key, without a read of each group.
//!
//! Each reset has a number. A group's list of holders is stored with the number of the last reset applied to it; later resets are
//! applied when it is loaded.

use crate::account::error::AccountError;
use crate::storage::{AccountStore, ChangeSet, kind, owner};
use crate::wire::Jid;
use std::collections::{BTreeSet, HashMap};

const WHAT: &str = "member reset";

#[derive(Default)]
pub(super) struct MemberResets {
    latest: Option<u64>,
    /// Resets of this process, by user: their rows may not be committed yet.
    recent: HashMap<Jid, u64>,
}

fn read(bytes: Vec<u8>) -> Result<u64, AccountError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| AccountError::Record { what: WHAT })
}

impl MemberResets {
    /// The number of the last reset; 0 before the first.
    pub(super) fn latest(&mut self, store: &AccountStore) -> Result<u64, AccountError> {
        let latest = match self.latest {
            Some(latest) => latest,
            None => store.get(kind::MEMBER_RESET, b"")?.map(read).transpose()?.unwrap_or(0),
        };
        self.latest = Some(latest);
        Ok(latest)
    }

    /// Resets a user, by all addresses.
    pub(super) fn reset(
        &mut self,
        store: &AccountStore,
        writes: &mut ChangeSet<owner::SenderKeys>,
        addresses: &[Jid],
    ) -> Result<(), AccountError> {
        let number = self.latest(store)? + 1;
        self.latest = Some(number);
        writes.put(kind::MEMBER_RESET, "", number.to_be_bytes());
        for user in addresses.iter().map(Jid::bare) {
            writes.put(kind::MEMBER_RESET, user.to_string(), number.to_be_bytes());
            self.recent.insert(user, number);
        }
        Ok(())
    }

    /// Removes the devices of users who were reset after `seen` from a list of holders.
    pub(super) fn prune(
        &mut self,
        store: &AccountStore,
        holders: &mut BTreeSet<Jid>,
        seen: u64,
    ) -> Result<(), AccountError> {
        if self.latest(store)? <= seen {
            return Ok(());
        }
        for user in holders.iter().map(Jid::bare).collect::<BTreeSet<_>>() {
            let reset = match self.recent.get(&user) {
                Some(reset) => *reset,
                None => store.get(kind::MEMBER_RESET, user.to_string().as_bytes())?.map(read).transpose()?.unwrap_or(0),
            };
            if reset > seen {
                holders.retain(|holder| !holder.is_same_user_as(&user));
            }
        }
        Ok(())
    }
}
