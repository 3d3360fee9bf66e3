//! What operators count: things that should be rare.

/// Something that went wrong, or was put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Incident {
    /// A message came that cannot be read.
    Undecryptable,
    /// A sender was asked to encrypt a message anew.
    RetryAsked,
    /// A message was sent again to a device that could not read it.
    RetryAnswered,
    /// A device asked for a message that was not sent to it again: unknown, too old, or asked for too often.
    RetryUnanswered,
    /// The service was found not to hear us.
    Deaf,
    /// A contact has a new identity.
    IdentityChanged,
    /// The service did not take prekeys.
    PreKeysRefused,
    /// The service holds other keys of ours than we do.
    PreKeysDiffer,
    /// The service has refused a message.
    MessageRefused,
}

impl Incident {
    pub const ALL: [Self; 9] = [
        Self::Undecryptable,
        Self::RetryAsked,
        Self::RetryAnswered,
        Self::RetryUnanswered,
        Self::Deaf,
        Self::IdentityChanged,
        Self::PreKeysRefused,
        Self::PreKeysDiffer,
        Self::MessageRefused,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecryptable => "undecryptable",
            Self::RetryAsked => "retry_asked",
            Self::RetryAnswered => "retry_answered",
            Self::RetryUnanswered => "retry_unanswered",
            Self::Deaf => "deaf",
            Self::IdentityChanged => "identity_changed",
            Self::PreKeysRefused => "prekeys_refused",
            Self::PreKeysDiffer => "prekeys_differ",
            Self::MessageRefused => "message_refused",
        }
    }
}
