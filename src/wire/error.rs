//! Errors of the wire layer.

use crate::base::address::redact_user;
use crate::signal::SignalError;

/// An error of the wire layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("the {what} is malformed")]
    Malformed { what: &'static str },
    #[error("the {what} ends too early")]
    Truncated { what: &'static str },
    #[error("the {what} is larger than {limit} bytes")]
    TooLarge { what: &'static str, limit: usize },
    #[error("{} is not a jid; expected user@server with a known server", redact_user(text))]
    BadJid { text: String },
    #[error("<{tag}> has no {what}")]
    Missing { tag: String, what: &'static str },
    #[error("the handshake failed: {what} does not decrypt")]
    Handshake { what: &'static str },
    #[error("the service's certificate is refused: {why}")]
    Certificate { why: &'static str },
    #[error("the device identity is refused: {why}")]
    DeviceIdentity { why: &'static str },
    #[error("the frame counter is used up; the connection must be replaced")]
    CounterExhausted,
    #[error("key material on the wire: {0}")]
    Key(#[from] SignalError),
}
