//! `/v1/accounts/{account}/contacts`.

pub(in crate::http) mod erase;
