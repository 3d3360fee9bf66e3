//! Supervision: the panic boundary, heartbeats, and critical actors.

pub(super) mod boundary;
pub(super) mod critical;
pub(super) mod heartbeat;
