//! Who may call.

pub(in crate::http) mod caller;
pub(in crate::http) mod keyring;
