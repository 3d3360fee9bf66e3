//! What the outside sees of an account.

use crate::base::time::Timestamp;
use crate::wire::Jid;
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// The states of `api.md` that this version can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    Created,
    Linking,
    /// A person has to prove with a passkey that the account is theirs.
    PasskeyRequired,
    /// The code on the phone has to be compared.
    PasskeyConfirmation,
    Connecting,
    Online,
    /// Connected, and nothing comes of it.
    Deaf,
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
        Self::Deaf,
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
            Self::Deaf => "deaf",
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

/// A linking code that can be scanned or typed now: whoever sees it can link the account to a phone.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkCode {
    pub text: String,
    pub expires_at: Timestamp,
}

impl fmt::Debug for LinkCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkCode").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A passkey that is asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct PasskeyView {
    /// The WebAuthn request options, as the service gave them, until they are answered.
    pub options: Option<Value>,
    /// The code to compare with the phone's.
    pub code: Option<String>,
    pub expires_at: Timestamp,
    /// Names this attempt in the link for a browser.
    pub token: String,
}

impl fmt::Debug for PasskeyView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasskeyView").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// An account as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    pub state: AccountState,
    pub reason: Option<String>,
    pub next_attempt_at: Option<Timestamp>,
    pub jid: Option<Jid>,
    pub lid: Option<Jid>,
    pub push_name: Option<String>,
    pub linked_at: Option<Timestamp>,
    pub code: Option<LinkCode>,
    /// To be typed into the phone.
    pub pairing_code: Option<LinkCode>,
    pub passkey: Option<PasskeyView>,
    /// The service runs out of our prekeys, and has not taken new ones yet.
    pub prekeys_due: bool,
}

impl Default for AccountView {
    fn default() -> Self {
        Self {
            state: AccountState::Created,
            reason: None,
            next_attempt_at: None,
            jid: None,
            lid: None,
            push_name: None,
            linked_at: None,
            code: None,
            pairing_code: None,
            passkey: None,
            prekeys_due: false,
        }
    }
}
