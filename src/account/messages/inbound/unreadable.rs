//! Why a message cannot be decrypted, and the code of its retry receipt (`wire-protocol.md` 1.14).

use crate::signal::SignalError;
use crate::wire::WireError;

pub(super) enum Unreadable {
    Signal(SignalError),
    Wire(WireError),
    NoCiphertext,
    /// The sender key of a device that its user's list lacks.
    UnknownDevice,
}

impl Unreadable {
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Signal(error) => error.to_string(),
            Self::Wire(error) => error.to_string(),
            Self::UnknownDevice => "the sender's device is unlisted and its sender key unknown".to_owned(),
            Self::NoCiphertext => "the stanza holds no known ciphertext for this device".to_owned(),
        }
    }

    /// True when the sender has to begin a new session.
    pub(super) fn needs_keys(&self) -> bool {
        use SignalError::{NoSession, UnknownPreKey, UnknownSignedPreKey};
        matches!(self, Self::Signal(NoSession | UnknownPreKey { .. } | UnknownSignedPreKey { .. }))
    }

    /// True when the session may still be stored under the sender's phone number.
    pub(super) fn may_be_migrated(&self) -> bool {
        matches!(self, Self::Signal(SignalError::NoSession | SignalError::UnknownPreKey { .. }))
    }

    pub(super) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Signal(SignalError::Duplicate { .. }))
    }

    pub(super) fn is_unknown_sender_key(&self) -> bool {
        matches!(self, Self::Signal(SignalError::UnknownSenderKey { .. }))
    }

    /// The reason code of a retry receipt.
    pub(super) fn retry_code(&self) -> u64 {
        match self {
            Self::Signal(SignalError::NoSession | SignalError::UnknownSenderKey { .. }) => 1,
            Self::Signal(SignalError::InvalidKey { .. }) => 2,
            Self::Signal(SignalError::UnknownPreKey { .. } | SignalError::UnknownSignedPreKey { .. }) => 3,
            Self::Signal(SignalError::TooFarInFuture { .. }) => 6,
            Self::Signal(SignalError::BadMac { .. }) => 7,
            Self::Signal(_) | Self::Wire(_) => 4,
            Self::UnknownDevice => 11,
            Self::NoCiphertext => 0,
        }
    }
}
