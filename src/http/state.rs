//! What every handler can reach.

use crate::actors::Service;
use crate::http::auth::keyring::Keyring;

/// What every handler can reach.
pub struct State {
    pub service: Service,
    pub keys: Keyring,
}
