//! Deduplicates delivered stanzas: one record a stanza, written with its event, so that a second delivery makes no second event.

use super::current::Turn;
use crate::account::error::AccountError;
use crate::storage::kind;
use sha2::{Digest, Sha256};

const READ: u8 = 1;
const UNREADABLE: u8 = 2;

/// The inbox record of a stanza.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::account) enum Inbox {
    /// Delivered: its event is in the log, and a copy is acknowledged only.
    Read,
    /// Undecryptable, with the number of retry receipts sent. A copy is decrypted if possible and makes no second event.
    Unreadable { retries: u8 },
}

/// The stored key: sixteen bytes of a hash over the parts, so that it holds no phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::account) struct InboxKey([u8; 16]);

impl InboxKey {
    pub(in crate::account) fn of(parts: &[&str]) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&Sha256::digest(parts.join("\0"))[..16]);
        Self(key)
    }

    pub(in crate::account) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Turn<'_> {
    pub(in crate::account) fn inbox(&self, key: &InboxKey) -> Result<Option<Inbox>, AccountError> {
        Ok(match self.get(kind::INBOX, key.as_bytes())?.as_deref() {
            Some([READ, ..]) => Some(Inbox::Read),
            Some([UNREADABLE, retries, ..]) => Some(Inbox::Unreadable { retries: *retries }),
            _ => None,
        })
    }

    /// Records the stanza with the current time, for retention.
    pub(in crate::account) fn put_inbox(&mut self, key: &InboxKey, inbox: Inbox) {
        let (mark, retries) = match inbox {
            Inbox::Read => (READ, 0),
            Inbox::Unreadable { retries } => (UNREADABLE, retries),
        };
        let value = [&[mark, retries][..], &self.now.0.to_be_bytes()].concat();
        self.put(kind::INBOX, key.as_bytes(), value);
    }
}
