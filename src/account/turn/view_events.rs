//! Events of a changed view: `account.qr` and `account.state` (`api.md`).

use super::event::Event;
use crate::account::view::{AccountView, LinkCode};
use crate::base::time::Timestamp;
use crate::wire::Jid;
use serde::Serialize;

pub(in crate::account) const TYPES: [&str; 2] = [QrShown::TYPE, StateChanged::TYPE];

/// A QR code is shown. The code itself links the account, so the log never has it.
#[derive(Serialize)]
pub(in crate::account) struct QrShown {
    expires_at: String,
}

impl Event for QrShown {
    const TYPE: &'static str = "account.qr";
}

impl QrShown {
    pub(in crate::account) fn of(code: &LinkCode) -> Self {
        Self { expires_at: code.expires_at.rfc3339() }
    }
}

#[derive(Serialize)]
pub(in crate::account) struct StateChanged<'a> {
    state: &'static str,
    reason: Option<&'a str>,
    next_attempt_at: Option<String>,
    jid: Option<&'a Jid>,
    lid: Option<&'a Jid>,
}

impl Event for StateChanged<'_> {
    const TYPE: &'static str = "account.state";
}

impl<'a> StateChanged<'a> {
    pub(in crate::account) fn of(view: &'a AccountView) -> Self {
        Self {
            state: view.state.as_str(),
            reason: view.reason.as_deref(),
            next_attempt_at: view.next_attempt_at.map(Timestamp::rfc3339),
            jid: view.jid.as_ref(),
            lid: view.lid.as_ref(),
        }
    }
}
