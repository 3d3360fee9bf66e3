//! Commands of linking, and their refusals.

use super::passkey::Assertion;
use crate::account::address::Contact;
use crate::account::error::Refusal;
use crate::account::turn::reply::ReplyTo;
use crate::account::view::LinkCode;

/// Why a command of linking is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkingError {
    #[error("the device was logged out; start the account again to link a new one")]
    LoggedOut,
    #[error("the account is linked already; log it out first")]
    AlreadyLinked,
    #[error("the service gives no code for this phone ({0}); check the number, and try again later")]
    NoCode(u64),
    #[error("no passkey is required; it is while the account is passkey_required or passkey_confirmation")]
    NoPasskey,
    #[error("another step of linking with the passkey is under way")]
    PasskeyUnderWay,
}

impl Refusal for LinkingError {
    fn problem(&self) -> (u16, &'static str) {
        match self {
            Self::LoggedOut => (409, "logged_out"),
            Self::AlreadyLinked => (409, "already_linked"),
            Self::NoCode(_) => (409, "no_code"),
            Self::NoPasskey => (409, "no_passkey"),
            Self::PasskeyUnderWay => (409, "passkey_under_way"),
        }
    }
}

#[derive(Debug)]
pub enum Command {
    /// Shows a code to type into this phone.
    PairingCode { phone: Contact, reply: ReplyTo<LinkCode, LinkingError> },
    /// A person's assertion by passkey.
    Passkey { assertion: Box<Assertion>, reply: ReplyTo<(), LinkingError> },
    /// The person has compared the codes.
    ConfirmPasskey { reply: ReplyTo<(), LinkingError> },
}
