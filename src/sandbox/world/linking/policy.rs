//! Settings of linking by passkey.

use super::authenticator::Credential;
use serde::{Deserialize, Serialize};

/// A step of the ceremony that can be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PasskeyStep {
    Options,
    Reference,
    Assertion,
    Nonce,
    Confirmation,
}

/// A fault of the ceremony.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum PasskeyFault {
    /// The phone does not answer the assertion.
    Silence,
    /// The challenge has expired when it is answered.
    Expired,
    /// The phone shows a different code.
    Mismatch,
    /// The connection is closed instead of the phone's answer.
    Disconnect,
    Refuse {
        step: PasskeyStep,
        code: u16,
    },
}

/// How an account is linked with its passkey.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasskeyPolicy {
    pub required: bool,
    /// The demand omits the options: the client has to query them.
    pub ask_for_options: bool,
    /// When linking by code, the phone sends one hello without a key before the demand.
    pub hello_first: bool,
    pub fault: Option<PasskeyFault>,
}

/// A person's passkey and its policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox::world) struct Passkey {
    pub(in crate::sandbox::world) policy: PasskeyPolicy,
    pub(in crate::sandbox::world) credential: Option<Credential>,
}
