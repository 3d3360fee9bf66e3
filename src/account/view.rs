//! The view of an account: its public state, computed from the features after each turn.

use super::own_device::Linked;
use crate::base::time::Timestamp;
use crate::wire::Jid;
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// The states of `api.md` that this version reaches.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    #[default]
    Created,
    Linking,
    /// A person must prove with a passkey that the account is theirs.
    PasskeyRequired,
    /// A person must compare the code with the phone's.
    PasskeyConfirmation,
    Connecting,
    Online,
    /// The service does not respond, or has not since the last reconnect.
    Unresponsive,
    Reconnecting,
    Stopped,
    LoggedOut,
    Replaced,
    Outdated,
    Locked,
    Banned,
    Quarantined,
}

impl AccountState {
    pub const ALL: [Self; 15] = [
        Self::Created,
        Self::Linking,
        Self::PasskeyRequired,
        Self::PasskeyConfirmation,
        Self::Connecting,
        Self::Online,
        Self::Unresponsive,
        Self::Reconnecting,
        Self::Stopped,
        Self::LoggedOut,
        Self::Replaced,
        Self::Outdated,
        Self::Locked,
        Self::Banned,
        Self::Quarantined,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Linking => "linking",
            Self::PasskeyRequired => "passkey_required",
            Self::PasskeyConfirmation => "passkey_confirmation",
            Self::Connecting => "connecting",
            Self::Online => "online",
            Self::Unresponsive => "unresponsive",
            Self::Reconnecting => "reconnecting",
            Self::Stopped => "stopped",
            Self::LoggedOut => "logged_out",
            Self::Replaced => "replaced",
            Self::Outdated => "outdated",
            Self::Locked => "locked",
            Self::Banned => "banned",
            Self::Quarantined => "quarantined",
        }
    }
}

/// A valid linking code. A secret: it links the account to any phone.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct LinkCode {
    pub text: String,
    pub expires_at: Timestamp,
}

impl fmt::Debug for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkCode").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A required passkey.
#[derive(Clone, PartialEq, Eq)]
pub struct PasskeyView {
    /// The WebAuthn request options, unchanged, until they are answered.
    pub options: Option<Value>,
    /// The code to compare with the phone's.
    pub code: Option<String>,
    pub expires_at: Timestamp,
    /// Identifies this attempt in the link for a browser.
    pub token: String,
}

impl fmt::Debug for PasskeyView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasskeyView").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// The current view of an account.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct AccountView {
    pub state: AccountState,
    pub reason: Option<String>,
    pub next_attempt_at: Option<Timestamp>,
    pub jid: Option<Jid>,
    pub lid: Option<Jid>,
    pub push_name: Option<String>,
    pub linked_at: Option<Timestamp>,
    pub code: Option<LinkCode>,
    /// The pairing code to type into the phone.
    pub pairing_code: Option<LinkCode>,
    pub passkey: Option<PasskeyView>,
    /// The service runs out of our prekeys and has not accepted new ones yet.
    pub prekeys_due: bool,
}

impl AccountView {
    /// The view of a linked device, before the features add their parts.
    pub(super) fn of(own: Option<&Linked>) -> Self {
        Self {
            jid: own.map(|own| own.jid.clone()),
            lid: own.and_then(|own| own.lid.clone()),
            push_name: own.map(|own| own.push_name.clone()).filter(|name| !name.is_empty()),
            linked_at: own.map(|own| own.linked_at),
            ..Self::default()
        }
    }
}
