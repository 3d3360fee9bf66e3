//! The machines behind the child actors: each alone owns its kinds of records.

pub(in crate::account) mod device_sync;
pub(in crate::account) mod prekeys;
pub(in crate::account) mod sender_keys;
pub(in crate::account) mod session_cipher;
