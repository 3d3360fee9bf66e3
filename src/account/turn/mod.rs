//! The interface of features to a turn: time, reads, writes, requests, notices, replies, and the children.
//!
//! Invariant: every write of a turn goes through the [`Turn`], and [`Turn::ask`] alone takes the writes of a child. A stanza is parsed
//! before anything is changed: a malformed one leaves the turn empty.

pub(in crate::account) mod context;
pub(in crate::account) mod counter;
mod current;
pub(in crate::account) mod effect;
pub(in crate::account) mod event;
pub(in crate::account) mod feature;
pub(in crate::account) mod idempotency;
pub(in crate::account) mod inbox;
pub(in crate::account) mod notice;
pub(in crate::account) mod reply;
pub(in crate::account) mod requests;
pub(in crate::account) mod view_events;

pub(in crate::account) use current::Turn;
