//! Accounts, their companions and their LIDs.

pub(super) mod account;
pub(super) mod accounts;
pub(super) mod collection;
pub(super) mod companion;
mod devices;
mod reinstall;
pub(super) mod settings;
