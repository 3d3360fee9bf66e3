//! Groups: metadata of their members, and notifications of changes (`wire-protocol.md` 1.15).

pub(in crate::account) mod metadata;
pub(in crate::account) mod notifications;
