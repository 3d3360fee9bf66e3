//! Errors of the control API.

use crate::wire::WireError;

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
    #[error("no client waits for a code of the phone {0}; request one with the client first")]
    NoCodeRequest(String),
    #[error("the pairing code cannot be read: {0}")]
    BadCode(WireError),
    #[error("the phone {0} has no companion {1}")]
    NoCompanion(String, u16),
    #[error("the phone {0} has the maximum number of companions; remove one")]
    TooManyCompanions(String),
    #[error("there is no group {0}; create it with POST /groups")]
    NoGroup(String),
    #[error("the service refuses the request: {0}")]
    Refused(&'static str),
    #[error("the participant {0} cannot be changed: {1}")]
    NotChanged(String, &'static str),
    #[error("this sandbox has no media host; start it with --media")]
    NoMediaHost,
    #[error("the media host is full; restart the sandbox with an empty folder")]
    MediaFull,
    #[error("the stored sandbox cannot be read: {0}; start it with another --data folder")]
    Unreadable(&'static str),
    #[error("the message cannot be encrypted for any device of the recipient; check its prekeys")]
    NoDevices,
}
