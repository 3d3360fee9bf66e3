//! An account's tree: the account, its children and its connection.

pub(super) mod account;
pub(super) mod children;
pub(super) mod connection;
pub(super) mod effects;
pub(super) mod environment;
pub(super) mod group_cache;
pub(super) mod inputs;
pub(super) mod options;
pub(super) mod replies;
pub(super) mod reports;
pub(super) mod turns;
