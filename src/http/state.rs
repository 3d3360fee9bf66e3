//! State that every handler can reach.

use crate::actors::Service;
use crate::http::auth::keyring::Keyring;
use crate::http::extract::claims::Claims;
use std::time::Duration;

pub struct State {
    pub service: Service,
    pub keys: Keyring,
    pub limits: Limits,
    /// Where browsers reach the server; `None`: where the request came in.
    pub public_url: Option<String>,
    pub claims: Claims,
}

/// What clients may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a body may take.
    pub body: Duration,
    /// The connections of one remote address.
    pub connections: usize,
}
