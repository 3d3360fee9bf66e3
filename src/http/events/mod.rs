//! `/v1/events`.

pub(in crate::http) mod list;
