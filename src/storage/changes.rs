//! The atomic write set of a turn.

use super::kinds::{Kind, Owner};
use crate::base::ids::EventId;
use crate::base::time::Timestamp;
use std::marker::PhantomData;

/// One write: `None` deletes.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// The owner's name, for traces.
    pub owner: &'static str,
    pub kind: u8,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// Prints the size of the value only: values may hold secret keys.
impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let size = self.value.as_ref().map(Vec::len);
        write!(f, "{} {:#04x} {} {size:?}", self.owner, self.kind, hex::encode(&self.key))
    }
}

/// Writes of one owner.
#[derive(Debug)]
pub struct ChangeSet<O> {
    writes: Vec<Write>,
    owner: PhantomData<O>,
}

impl<O: Owner> Default for ChangeSet<O> {
    fn default() -> Self {
        Self { writes: Vec::new(), owner: PhantomData }
    }
}

impl<O: Owner> ChangeSet<O> {
    pub fn put(&mut self, kind: Kind<O>, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.push(kind, key.into(), Some(value.into()));
    }

    pub fn delete(&mut self, kind: Kind<O>, key: impl Into<Vec<u8>>) {
        self.push(kind, key.into(), None);
    }

    fn push(&mut self, kind: Kind<O>, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.writes.push(Write { owner: O::NAME, kind: kind.code(), key, value });
    }

    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Adds the writes of another set of the same owner.
    pub fn append(&mut self, other: Self) {
        self.writes.extend(other.writes);
    }
}

/// An event to be logged; its position is assigned at commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub id: EventId,
    pub at: Timestamp,
    /// Such as `message.received`.
    pub kind: &'static str,
    /// The account's public id.
    pub account: String,
    /// Webhook deliveries keep the order of events of one chat; empty for events of the whole account.
    pub chat: String,
    /// The whole event as JSON, rendered once.
    pub body: String,
}

/// The writes of one turn, applied atomically.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub writes: Vec<Write>,
    pub events: Vec<NewEvent>,
}

impl<O> ChangeSet<O> {
    pub(super) fn into_writes(self) -> impl Iterator<Item = Write> {
        self.writes.into_iter()
    }
}

impl Changes {
    pub fn absorb<O>(&mut self, set: ChangeSet<O>) {
        self.writes.extend(set.writes);
    }

    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.events.is_empty()
    }
}
