//! What an account forgets: by age, and of one contact on request.
//!
//! Each sweep looks at a page of rows in a turn, so that others' turns come between. Invariant: what is still needed is never
//! forgotten by age: messages that wait to be sent stay, and so do sessions, identities and keys.

use crate::account::error::AccountError;
use crate::account::messages::outbound::IdempotencyRecord;
use crate::account::messages::record::MessageRecord;
use crate::account::router::{Reply, Router, Turn};
use crate::account::{Children, Counts};
use crate::account::{codec, proto};
use crate::base::ids::Fingerprint;
use crate::base::time::Timestamp;
use crate::storage::{ChangeSet, Kind, kind, owner};
use crate::wire::Jid;
use std::collections::HashSet;
use std::time::Duration;

/// Rows that one turn looks at.
const PAGE: usize = 256;

/// How long records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Our messages and their status.
    pub messages: Duration,
    /// That a message was received, so that another delivery makes no second event.
    pub inbox: Duration,
    /// What was sent, for devices that ask for it again.
    pub sent: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
        Self { messages: days(30), inbox: days(30), sent: Duration::from_secs(2 * 60 * 60) }
    }
}

/// Where the next page of a sweep begins.
#[derive(Debug, Default)]
pub(in crate::account) struct Sweep {
    stage: usize,
    after: Option<Vec<u8>>,
}

const STAGES: [Kind<owner::Router>; 6] =
    [kind::MESSAGE, kind::INBOX, kind::IDEMPOTENCY, kind::POISON, kind::SENT, kind::AUTHOR];

impl Router {
    /// Forgets what is too old in the next page of records. Replies whether there are more to look at.
    pub(in crate::account) fn sweep<C>(&mut self, turn: &mut Turn<'_, C>) -> Result<Reply, AccountError> {
        let Some(stage) = STAGES.get(self.sweep.stage).copied() else {
            self.sweep = Sweep::default();
            return Ok(Reply::Swept { more: false });
        };
        let page = self.store.page(stage, self.sweep.after.as_deref(), PAGE)?;
        let mut writes = ChangeSet::<owner::Router>::default();
        for (key, value) in &page {
            let expires = match stage.code() {
                code if code == kind::MESSAGE.code() => self.message_expires(value, turn.now)?,
                code if code == kind::IDEMPOTENCY.code() => answer_expires(value)?,
                code if code == kind::SENT.code() => {
                    let sent: proto::Sent = codec::decode(value, "sent message")?;
                    Some(Timestamp(sent.at_ms()).plus(self.settings.retention.sent))
                }
                // These end with their time.
                _ => {
                    value.last_chunk().map(|at| Timestamp(u64::from_be_bytes(*at)).plus(self.settings.retention.inbox))
                }
            };
            if expires.is_some_and(|at| at <= turn.now) {
                writes.delete(stage, key.as_slice());
            }
        }
        turn.absorb(writes);
        self.sweep = match page.last() {
            Some((last, _)) if page.len() == PAGE => Sweep { stage: self.sweep.stage, after: Some(last.clone()) },
            _ => Sweep { stage: self.sweep.stage + 1, after: None },
        };
        Ok(Reply::Swept { more: true })
    }

    fn message_expires(&self, value: &[u8], now: Timestamp) -> Result<Option<Timestamp>, AccountError> {
        let record: MessageRecord = codec::decode_json(value, "message")?;
        let expires = record.created_at.plus(self.settings.retention.messages);
        let waits = || self.outbox.entries.values().any(|entry| entry.id == record.id);
        Ok(Some(expires).filter(|at| *at > now || !waits()))
    }

    /// Forgets a contact: messages to it, answers to repeated requests, sessions, identities, devices, addresses. Events are the
    /// committer's, which is told the addresses.
    pub(in crate::account) async fn forget_contact<C: Children>(
        &mut self,
        turn: &mut Turn<'_, C>,
        contact: &Jid,
    ) -> Result<Reply, AccountError> {
        let (user, mut counts) = (contact.bare(), Counts::default());
        let (addresses, listed, writes) = turn.children.devices(move |devices| devices.forget_user(&user)).await??;
        counts.add("device_lists", listed);
        turn.absorb(writes);
        let asked = addresses.clone();
        let (forgotten, writes) = turn.children.sessions(move |sessions| sessions.forget_users(&asked)).await??;
        counts.merge(forgotten);
        turn.absorb(writes);

        let names: HashSet<String> = addresses.iter().map(Jid::to_string).collect();
        let mut writes = ChangeSet::<owner::Router>::default();
        for (key, value) in self.store.scan(kind::MESSAGE, b"")? {
            let record: MessageRecord = codec::decode_json(&value, "message")?;
            if names.contains(&record.to) {
                writes.delete(kind::MESSAGE, key);
                counts.add("messages", 1);
            }
        }
        for (key, value) in self.store.scan(kind::IDEMPOTENCY, b"")? {
            let stored: IdempotencyRecord = codec::decode_json(&value, "idempotency")?;
            if names.contains(&stored.answer.to) {
                writes.delete(kind::IDEMPOTENCY, key);
                counts.add("remembered_answers", 1);
            }
        }
        for address in &names {
            if self.store.get(kind::PRIVACY_TOKEN, address.as_bytes())?.is_some() {
                writes.delete(kind::PRIVACY_TOKEN, address.clone());
                counts.add("privacy_tokens", 1);
            }
        }
        for (key, value) in self.store.scan(kind::SENT, b"")? {
            let sent: proto::Sent = codec::decode(&value, "sent message")?;
            if names.contains(sent.to()) {
                writes.delete(kind::SENT, key);
                counts.add("sent_messages", 1);
            }
        }
        let queued = self.outbox.entries.extract_if(.., |_, entry| names.contains(&entry.to.to_string()));
        for (seq, _) in queued {
            writes.delete(kind::OUTBOX, seq.to_be_bytes());
            counts.add("queued_messages", 1);
        }
        turn.absorb(writes);
        Ok(Reply::Forgotten { addresses: names.into_iter().collect(), counts })
    }
}

fn answer_expires(value: &[u8]) -> Result<Option<Timestamp>, AccountError> {
    let stored: IdempotencyRecord = codec::decode_json(value, "idempotency")?;
    Ok(Some(stored.answer.created_at.plus(Fingerprint::KEPT)))
}
