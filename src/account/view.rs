//! What the outside sees of an account.

use crate::base::time::Timestamp;
use crate::wire::Jid;
use serde::Serialize;

/// The states of `api.md` that this version can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    Created,
    Linking,
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
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Linking => "linking",
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

/// A linking code that can be scanned now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkCode {
    pub text: String,
    pub expires_at: Timestamp,
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
        }
    }
}
