//! `/v1/accounts`.

pub(in crate::http) mod change;
pub(in crate::http) mod create;
pub(in crate::http) mod delete;
pub(in crate::http) mod get;
pub(in crate::http) mod list;
pub(in crate::http) mod log_out;
pub(in crate::http) mod restart;
pub(in crate::http) mod start;
pub(in crate::http) mod stop;
pub(in crate::http) mod view;
