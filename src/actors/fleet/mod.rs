//! The fleet: the registry of accounts, and the life-cycle of their trees.

pub(super) mod registry;
pub(super) mod renewal;
pub(super) mod supervision;
pub(super) mod upkeep;
