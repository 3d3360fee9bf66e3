//! The committer: group commit, the event log's positions, and background work on stored rows.

pub(super) mod idempotency;
pub(super) mod ledger;
pub(super) mod requests;
pub(super) mod rows;
pub(super) mod staging;
pub(super) mod store;
pub(super) mod upkeep;
pub(super) mod writer;
