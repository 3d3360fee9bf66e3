//! Why the sandbox refuses what its control API asks.

use crate::wire::WireError;

/// An error of the sandbox's control interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorldError {
    #[error("no phone has the number {0}; create it with POST /phones")]
    NoPhone(String),
    #[error("a phone number is 5 to 20 digits; {0:?} is not")]
    BadNumber(String),
    #[error("the qr code's text cannot be read: {0}")]
    BadQr(WireError),
    #[error("no client is showing this qr code; it has expired or was used")]
    UnknownQr,
    #[error("the qr code shows other keys than the client connected with")]
    ForeignQr,
    #[error("the recipient {0} is not on the sandbox network; create it with POST /phones")]
    NoRecipient(String),
    #[error("the message could be encrypted for none of the recipient's devices")]
    NoDevices,
}
