//! Typed extractors: a handler gets parsed values, and a malformed request never reaches it.

pub(in crate::http) mod account;
pub(in crate::http) mod body;
pub(in crate::http) mod claims;
pub(in crate::http) mod json;
pub(in crate::http) mod once;
pub(in crate::http) mod page;
pub(in crate::http) mod query;
