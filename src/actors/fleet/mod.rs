//! The fleet: the registry of accounts, and the life-cycle of their trees.

pub(super) mod calls;
pub(super) mod create;
pub(super) mod record;
pub(super) mod registry;
pub(super) mod restart;
pub(super) mod tree_down;
pub(super) mod upkeep;
