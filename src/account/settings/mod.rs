//! Settings that all accounts share.

pub(in crate::account) mod client_version;
pub(in crate::account) mod pacing;
