//! The outcome of preparing a queued message.

use super::queue::Wait;
use crate::wire::Node;

pub(in crate::account::messages) enum Step {
    Waiting(Wait),
    Encrypted(Box<Node>),
    Failed(Failure),
}

/// The reason of a failure: a stable code, and its meaning.
#[derive(Debug, Clone, Copy)]
pub(in crate::account::messages) struct Failure {
    pub(in crate::account::messages) code: &'static str,
    pub(in crate::account::messages) meaning: &'static str,
}

pub(in crate::account::messages) const NOT_FOUND: Failure =
    Failure { code: "recipient_not_found", meaning: "the recipient is not on WhatsApp" };
pub(in crate::account::messages) const NO_DEVICES: Failure = Failure {
    code: "no_recipient_devices",
    meaning: "the message could be encrypted for none of the recipient's devices",
};
pub(in crate::account::messages) const NO_GROUP: Failure =
    Failure { code: "group_not_found", meaning: "the service does not know the group, or we are not in it" };
pub(in crate::account::messages) const NOT_ENCRYPTED: Failure =
    Failure { code: "not_encrypted", meaning: "the message could not be encrypted for the group" };
pub(in crate::account::messages) const UNAVAILABLE: Failure =
    Failure { code: "service_unavailable", meaning: "the service did not answer in time" };
pub(in crate::account::messages) const NOT_ACKNOWLEDGED: Failure =
    Failure { code: "outcome_unknown", meaning: "the service did not acknowledge the message; it may have arrived" };
pub(in crate::account::messages) const LOGGED_OUT: Failure =
    Failure { code: "logged_out", meaning: "the account was logged out before the message could be sent" };
pub(in crate::account::messages) const RESTORED: Failure = Failure {
    code: "outcome_unknown",
    meaning: "the account was restored from a backup: whether this was sent before cannot be known",
};
