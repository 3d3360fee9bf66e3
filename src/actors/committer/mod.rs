//! The committer: the one writer, and what it does between turns.

pub(super) mod idempotency;
pub(super) mod ledger;
pub(super) mod requests;
pub(super) mod rows;
pub(super) mod staging;
pub(super) mod store;
pub(super) mod upkeep;
pub(super) mod writer;
