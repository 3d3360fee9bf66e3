//! What a restored backup must not do (`architecture.md`, "State"): its sessions, queue and prekeys are as they were, but the
//! world has moved on.
//!
//! Before the first start every session becomes receive-only, so that no message key is used twice; new ones are begun from fresh
//! bundles. Our sender keys are dropped, for the same reason. With the first start what waited in the queue is `failed` with `outcome_unknown`, for it may have been sent. With the
//! first login the prekeys are replaced, with ids above all that the service lists.

use crate::account::Children;
use crate::account::error::AccountError;
use crate::account::router::{Router, Turn};
use crate::account::turn::requests::Purpose;
use crate::base::ids::AccountKey;
use crate::base::time::Timestamp;
use crate::signal::{Part, PreKeyId, Session, SignalError};
use crate::storage::{Batch, ChangeSet, Kind, Owner, Records, Rows, kind};
use crate::wire::Node;
use crate::wire::prekeys::{read_digest_ids, read_skey};

/// Stored under `kind::RESTORED` until everything is done: what is still to be done, and when it was restored.
const ALL: u8 = 1;
const PREKEYS: u8 = 2;
/// Session rows read at a time.
const PAGE: usize = 1000;

/// How far the first start after a restore has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::account) enum Restored {
    /// Not restored, or long settled.
    No,
    /// Just restored.
    Fresh,
    /// Prekeys are to be replaced.
    OldPreKeys,
}

impl Restored {
    pub(in crate::account) fn parse(stored: Option<&[u8]>) -> Self {
        match stored.and_then(|bytes| bytes.first()) {
            Some(&ALL) => Self::Fresh,
            Some(&PREKEYS) => Self::OldPreKeys,
            _ => Self::No,
        }
    }
}

/// Makes the records of an account that was just copied from a backup fit to be started. Returns how many sessions it has.
pub fn prepare_restored(records: &Records, account: AccountKey, now: Timestamp) -> Result<usize, AccountError> {
    let (mut count, mut after) = (0, None);
    let mut rest: Rows = Vec::new();
    loop {
        let page = records.scan(account, kind::SESSION, &[], after.as_deref(), PAGE)?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(key, _)| key.clone());
        rest.extend(page);
        let mut batch = Batch::default();
        // The rows of one session lie together; the last one may go on in the next page.
        while let Some((first, _)) = rest.first() {
            let (name, _) = records.split_name(first);
            let (name, end) = (name.to_vec(), rest.iter().position(|(key, _)| records.split_name(key).0 != name));
            if end.is_none() && !is_last {
                break;
            }
            let rows: Rows = rest.drain(..end.unwrap_or(rest.len())).collect();
            stage_receive_only(records, &mut batch, account, &name, &rows)?;
            count += 1;
        }
        records.engine().apply(batch)?;
        if is_last {
            break;
        }
    }
    drop_sender_keys(records, account, kind::OWN_SENDER_KEY)?;
    drop_sender_keys(records, account, kind::KEY_HOLDERS)?;
    let mut mark = ChangeSet::default();
    mark.put(kind::RESTORED, "", [&[ALL], &now.0.to_be_bytes()[..]].concat());
    records.commit(Batch::default(), account, mark)?;
    Ok(count)
}

/// Our keys for groups have gone on without us: new ones are made with the next messages.
fn drop_sender_keys<O: Owner>(records: &Records, account: AccountKey, kind: Kind<O>) -> Result<(), AccountError> {
    loop {
        let page = records.scan(account, kind, &[], None, PAGE)?;
        if page.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for (key, _) in &page {
            records.restage(&mut batch, account, kind, key, None)?;
        }
        records.engine().apply(batch)?;
    }
}

fn stage_receive_only(
    records: &Records,
    batch: &mut Batch,
    account: AccountKey,
    name: &[u8],
    rows: &Rows,
) -> Result<(), AccountError> {
    let parts = rows.iter().map(|(key, bytes)| Ok((Part::parse(&key[name.len()..])?, bytes)));
    let mut session = Session::from_parts(parts.collect::<Result<Vec<_>, SignalError>>()?)?;
    session.make_receive_only()?;
    for (part, bytes) in session.take_changes() {
        let key = [name, &part.suffix()].concat();
        records.restage(batch, account, kind::SESSION, &key, bytes.map(|bytes| bytes.to_vec()))?;
    }
    Ok(())
}

impl Router {
    /// The first turn after a restore: nobody knows what became of the messages in the queue.
    pub(in crate::account) fn settle_restored<C>(&mut self, turn: &mut Turn<'_, C>) -> Result<(), AccountError> {
        if self.restored != Restored::Fresh {
            return Ok(());
        }
        let queued: Vec<_> = self.outbox.entries.iter().map(|(seq, entry)| (*seq, entry.id.clone())).collect();
        tracing::warn!(account = %self.id, queued = queued.len(), "the account was restored from a backup");
        for (seq, id) in queued {
            let meaning = "the account was restored from a backup: whether this was sent before cannot be known";
            self.fail(turn, seq, &id, "outcome_unknown", meaning)?;
        }
        self.mark_restored(turn, Restored::OldPreKeys);
        Ok(())
    }

    fn mark_restored<C>(&mut self, turn: &mut Turn<'_, C>, restored: Restored) {
        let mut writes = ChangeSet::default();
        match restored {
            Restored::OldPreKeys => {
                writes.put(kind::RESTORED, "", [&[PREKEYS], &turn.now.0.to_be_bytes()[..]].concat());
            }
            Restored::No | Restored::Fresh => writes.delete(kind::RESTORED, ""),
        }
        turn.absorb(writes);
        self.restored = restored;
    }

    /// Asks which prekeys the service lists, if ours are those of a backup.
    pub(in crate::account) fn ask_listed_prekeys<C>(&mut self, turn: &mut Turn<'_, C>) -> bool {
        let is_due = self.restored == Restored::OldPreKeys;
        if is_due {
            let digest = self.ask(turn, Purpose::Digest, "encrypt", "get").child(Node::new("digest"));
            self.write(turn, digest);
        }
        is_due
    }

    /// New prekeys, above all that the service lists; none listed when it does not tell.
    pub(in crate::account) async fn replace_prekeys<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        digest: Option<&Node>,
    ) -> Result<(), AccountError> {
        let listed: Vec<PreKeyId> = digest.map(read_digest_ids).transpose()?.unwrap_or_default();
        let signed = digest.and_then(|digest| digest.find("skey")).map(read_skey).transpose()?.map(|(id, ..)| id);
        let identity = self.device.local.identity.clone();
        let count = self.settings.prekey_batch;
        let (signed, (keys, writes)) =
            turn.children.prekeys(move |keys| keys.replace(&listed, signed, &identity, count)).await??;
        turn.absorb(writes);
        self.write_upload(turn, &signed, &keys);
        Ok(())
    }

    /// The service has the new prekeys: nothing of the restore is left to be done.
    pub(in crate::account) fn prekeys_replaced<C>(&mut self, turn: &mut Turn<'_, C>) {
        if self.restored == Restored::OldPreKeys {
            self.mark_restored(turn, Restored::No);
        }
    }
}
