//! What operators ask of a running server.

pub(in crate::http) mod backup;
pub(in crate::http) mod health;
pub(in crate::http) mod rotate_data_keys;
