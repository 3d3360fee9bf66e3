//! What a turn of the account is given.

pub(in crate::account) mod counter;
pub(in crate::account) mod event;
pub(in crate::account) mod requests;
