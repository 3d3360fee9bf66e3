//! `/v1/accounts/{account}/signal/…`: the low-level Signal operations.

pub(in crate::http) mod refresh_prekeys;
pub(in crate::http) mod rotate;
