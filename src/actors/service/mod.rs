//! The service: the interface of the actor layer to the layers above.

pub(super) mod client_version;
pub(super) mod disk;
pub(super) mod handle;
pub(super) mod linking;
pub(super) mod messages;
pub(super) mod operations;
pub(super) mod state;
