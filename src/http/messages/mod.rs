//! `/v1/accounts/{account}/messages`.

pub(in crate::http) mod get;
pub(in crate::http) mod send;
