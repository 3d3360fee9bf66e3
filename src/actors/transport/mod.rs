//! Transport: the WebSocket to the service, directly or through a proxy.

pub(super) mod network;
pub(super) mod proxy;
pub(super) mod sandbox_root;
pub(super) mod socket;
