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
    #[error("no client waits for a code of the phone {0}; ask it for one first")]
    NoCodeRequest(String),
    #[error("the pairing code cannot be read: {0}")]
    BadCode(WireError),
    #[error("the phone {0} has no companion {1}")]
    NoCompanion(String, u16),
    #[error("the phone {0} has as many companions as there can be; remove one")]
    TooManyCompanions(String),
    #[error("there is no group {0}; create it with POST /groups")]
    NoGroup(String),
    #[error("the service refuses it: {0}")]
    Refused(&'static str),
    #[error("{0} cannot be concerned by this: {1}")]
    NotChanged(String, &'static str),
    #[error("this sandbox has no media host; start it with --media")]
    NoMediaHost,
    #[error("the media host is full")]
    MediaFull,
    #[error("what was kept of the sandbox cannot be read: {0}; start it with another folder")]
    Unreadable(&'static str),
    #[error("the message could be encrypted for none of the recipient's devices")]
    NoDevices,
}
