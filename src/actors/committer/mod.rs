//! The committer: the one writer, and what it does between turns.

pub(super) mod idempotency;
pub(super) mod upkeep;
pub(super) mod writer;
