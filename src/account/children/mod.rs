//! Machines behind the child actors. Each alone writes its kinds of records, and gathers its writes until they are taken.

pub(in crate::account) mod asks;
pub(in crate::account) mod device_sync;
pub(in crate::account) mod machine;
mod member_resets;
pub(in crate::account) mod prekeys;
pub(in crate::account) mod provision;
pub(in crate::account) mod restored;
pub(in crate::account) mod sender_keys;
pub(in crate::account) mod session_cipher;
