//! The first starts after a restore from a backup (`architecture.md`, "State"): the stored sessions, queue and prekeys are those of the
//! backup, while the peers have moved on.
//!
//! Before the first start every session becomes receive-only and our sender keys are dropped. On the first start queued messages fail
//! with `outcome_unknown`, for they may have been sent. On the first login the prekeys are replaced, with ids above all that the
//! service lists.

use crate::account::children::restored;
use crate::account::error::AccountError;
use crate::account::turn::Turn;
use crate::account::turn::context::Context;
use crate::account::turn::feature::Feature;
use crate::account::turn::notice::Notice;
use crate::account::turn::requests::Requests;
use crate::base::ids::AccountKey;
use crate::base::time::Timestamp;
use crate::storage::{Batch, ChangeSet, Records, kind};
use std::convert::Infallible;

/// Stored under `kind::RESTORED` until everything is done: the outstanding steps, then the time of the restore.
const ALL: u8 = 1;
const PREKEYS: u8 = 2;

/// This feature takes no commands.
#[derive(Debug)]
pub enum Command {}

/// Outstanding steps after a restore.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Outstanding {
    #[default]
    Nothing,
    /// The account was just restored.
    Everything,
    /// The prekeys must be replaced.
    PreKeys,
}

/// Prepares the records of an account that was just copied from a backup. Returns the number of its sessions.
pub fn prepare_restored(records: &Records, account: AccountKey, now: Timestamp) -> Result<usize, AccountError> {
    let sessions = restored::make_sessions_receive_only(records, account)?;
    restored::drop_own_sender_keys(records, account)?;
    let mut mark = ChangeSet::default();
    mark.put(kind::RESTORED, "", [&[ALL], &now.0.to_be_bytes()[..]].concat());
    records.commit(Batch::default(), account, mark)?;
    Ok(sessions)
}

#[derive(Debug, Default)]
pub(in crate::account) struct Restore {
    requests: Requests<Infallible>,
    outstanding: Outstanding,
}

impl Feature for Restore {
    type Command = Command;
    type Request = Infallible;

    fn load(ctx: &Context) -> Result<Self, AccountError> {
        let outstanding = match ctx.store.get(kind::RESTORED, b"")?.as_deref().and_then(<[u8]>::first) {
            Some(&ALL) => Outstanding::Everything,
            Some(&PREKEYS) => Outstanding::PreKeys,
            _ => Outstanding::Nothing,
        };
        Ok(Self { outstanding, ..Self::default() })
    }

    fn requests(&mut self) -> &mut Requests<Infallible> {
        &mut self.requests
    }

    async fn command(&mut self, _: &mut Turn<'_>, command: Command) -> Result<(), AccountError> {
        match command {}
    }

    async fn notice(&mut self, turn: &mut Turn<'_>, notice: &Notice) -> Result<(), AccountError> {
        match notice {
            Notice::Resuming if self.outstanding != Outstanding::Nothing => {
                let first = self.outstanding == Outstanding::Everything;
                if first {
                    turn.put(kind::RESTORED, "", [&[PREKEYS], &turn.now.0.to_be_bytes()[..]].concat());
                    self.outstanding = Outstanding::PreKeys;
                }
                turn.announce(Notice::Restored { first });
            }
            Notice::PreKeysReplaced => {
                turn.delete(kind::RESTORED, "");
                self.outstanding = Outstanding::Nothing;
            }
            _ => {}
        }
        Ok(())
    }
}
