//! State that every handler can reach.

use crate::actors::Service;
use crate::http::auth::keyring::Keyring;

pub struct State {
    pub service: Service,
    pub keys: Keyring,
}
