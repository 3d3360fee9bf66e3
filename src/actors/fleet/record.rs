//! Stored records of accounts, and an account's public information.

use crate::account::{AccountError, AccountView};
use crate::actors::error::ActorError;
use crate::actors::tree::options::AccountOptions;
use crate::base::ids::{AccountId, AccountKey};
use crate::base::time::Timestamp;
use crate::storage::{ChangeSet, Records, StorageError, kind, owner};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

const FORMAT: u8 = 1;

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

/// An account's public information.
#[derive(Debug, Clone)]
pub struct AccountInfo {
    pub id: AccountId,
    pub label: Option<String>,
    pub metadata: Map<String, Value>,
    pub created_at: Timestamp,
    pub options: AccountOptions,
    /// Restarts within the last minute.
    pub restarts: usize,
    pub view: AccountView,
}

pub(super) fn load_accounts(records: &Records) -> Result<Vec<(AccountId, AccountRecord)>, StorageError> {
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

/// All accounts of a store, with their internal keys.
pub fn stored_accounts(records: &Records) -> Result<Vec<(AccountId, AccountKey)>, StorageError> {
    Ok(load_accounts(records)?.into_iter().map(|(id, record)| (id, record.key)).collect())
}

impl AccountRecord {
    /// The record as it is stored.
    pub(super) fn to_writes(&self, id: &AccountId) -> Result<ChangeSet<owner::Server>, ActorError> {
        let json = serde_json::to_vec(self);
        let failed = |error: serde_json::Error| {
            let error = StorageError::Engine { action: "write an account", why: error.to_string() };
            ActorError::from(AccountError::from(error))
        };
        let mut writes = ChangeSet::<owner::Server>::default();
        writes.put(kind::ACCOUNT, id.as_str(), [&[FORMAT][..], &json.map_err(failed)?].concat());
        Ok(writes)
    }
}
