//! `/v1/webhooks`: endpoints that events are delivered to.

pub(in crate::http) mod create;
pub(in crate::http) mod delete;
pub(in crate::http) mod get;
pub(in crate::http) mod list;
pub(in crate::http) mod view;
