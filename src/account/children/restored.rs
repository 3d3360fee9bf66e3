//! Records of the children after a restore from a backup: sessions become receive-only and our sender keys are dropped, so that no
//! message key is used twice.

use crate::account::error::AccountError;
use crate::base::ids::AccountKey;
use crate::signal::{Part, Session, SignalError};
use crate::storage::{Batch, Kind, Owner, Records, Rows, kind};

/// Session rows read at a time.
const PAGE: usize = 1000;

/// Makes every session receive-only. Returns their number.
pub(in crate::account) fn make_sessions_receive_only(
    records: &Records,
    account: AccountKey,
) -> Result<usize, AccountError> {
    let (mut count, mut after) = (0, None);
    let mut rest: Rows = Vec::new();
    loop {
        let page = records.scan(account, kind::SESSION, &[], after.as_deref(), PAGE)?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(key, _)| key.clone());
        rest.extend(page);
        let mut batch = Batch::default();
        // The rows of one session are adjacent; those of the last session may continue in the next page.
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
            return Ok(count);
        }
    }
}

/// Drops our sender keys: the next message to each group makes a new one.
pub(in crate::account) fn drop_own_sender_keys(records: &Records, account: AccountKey) -> Result<(), AccountError> {
    drop_all(records, account, kind::OWN_SENDER_KEY)?;
    drop_all(records, account, kind::KEY_HOLDERS)
}

fn drop_all<O: Owner>(records: &Records, account: AccountKey, kind: Kind<O>) -> Result<(), AccountError> {
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
