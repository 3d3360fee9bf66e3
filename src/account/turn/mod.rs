//! A turn, as features see it: time, reads, writes, requests, notices, replies, and the children.
//!
//! Invariant: whatever a turn writes goes through the [`Turn`]; what a child wrote is taken up in [`Turn::ask`] alone. Parsing comes
//! before touching: a malformed stanza leaves the turn empty.

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
