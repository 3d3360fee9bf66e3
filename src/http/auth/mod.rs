//! API keys and the callers that bear them.

pub(in crate::http) mod caller;
pub(in crate::http) mod keyring;
