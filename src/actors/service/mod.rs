//! The service: the interface of the actor layer to the layers above.

pub(super) mod accounts;
pub(super) mod client_version;
pub(super) mod disk;
pub(super) mod events;
pub(super) mod handle;
pub(super) mod keys;
pub(super) mod linking;
pub(super) mod measure;
pub(super) mod operations;
pub(super) mod start;
pub(super) mod state;
pub(super) mod webhooks;
