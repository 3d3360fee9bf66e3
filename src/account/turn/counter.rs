//! Counters for operators: rare incidents.

/// An incident that went wrong or was repaired. Exported as `incidents_total{kind}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counter {
    /// A message could not be decrypted.
    Undecryptable,
    /// An undecryptable message was ignored: its sender's messages fail too often.
    Ignored,
    /// A retry receipt was sent.
    RetrySent,
    /// A message was resent to a device that could not decrypt it.
    Resent,
    /// A retry receipt got no resend: the message is unknown or too old, or was resent too often.
    RetryRefused,
    /// The service was unresponsive.
    Unresponsive,
    /// A contact has a new identity.
    IdentityChanged,
    /// The service refused prekeys.
    PreKeysRefused,
    /// The digest of our keys at the service differs from ours.
    PreKeysDiffer,
    /// The service rejected a message.
    MessageRejected,
    /// A stanza that no feature claims was acknowledged and ignored.
    Unclaimed,
    /// A malformed stanza was acknowledged and skipped.
    Malformed,
    /// A malformed stanza had changed the turn before its parsing failed: a bug of Wharf.
    HalfHandled,
}

impl Counter {
    pub const ALL: [Self; 13] = [
        Self::Undecryptable,
        Self::Ignored,
        Self::RetrySent,
        Self::Resent,
        Self::RetryRefused,
        Self::Unresponsive,
        Self::IdentityChanged,
        Self::PreKeysRefused,
        Self::PreKeysDiffer,
        Self::MessageRejected,
        Self::Unclaimed,
        Self::Malformed,
        Self::HalfHandled,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecryptable => "undecryptable",
            Self::Ignored => "undecryptable_ignored",
            Self::RetrySent => "retry_asked",
            Self::Resent => "retry_answered",
            Self::RetryRefused => "retry_unanswered",
            Self::Unresponsive => "unresponsive",
            Self::IdentityChanged => "identity_changed",
            Self::PreKeysRefused => "prekeys_refused",
            Self::PreKeysDiffer => "prekeys_differ",
            Self::MessageRejected => "message_refused",
            Self::Unclaimed => "stanza_unclaimed",
            Self::Malformed => "stanza_malformed",
            Self::HalfHandled => "stanza_half_handled",
        }
    }
}
