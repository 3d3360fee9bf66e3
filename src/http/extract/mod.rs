//! What handlers take from a request.

pub(in crate::http) mod account;
pub(in crate::http) mod json;
pub(in crate::http) mod once;
pub(in crate::http) mod page;
