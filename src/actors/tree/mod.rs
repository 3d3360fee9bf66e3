//! An account's tree: the account, its children and its connection.

pub(super) mod account;
pub(super) mod children;
pub(super) mod connection;
pub(super) mod group_cache;
