//! Stream errors and refused logins of the service, and their outcome: reconnect, ban or stop (`wire-protocol.md` 1.7).

use crate::account::view::AccountState;
use crate::wire::{Node, WireError};
use std::time::Duration;

/// Why a connection is closed before a reconnect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DisconnectReason {
    /// Lost for the reason that the service or the socket gave.
    Lost(String),
    /// The service ends the stream as a step of the protocol, as after linking: reconnect at once.
    Expected,
    /// The service asks for fewer connections.
    Slower(&'static str),
    /// The connection is up but unresponsive.
    Unresponsive(&'static str),
}

/// Outcome of a `<stream:error>` or a `<failure>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    Reconnect(DisconnectReason),
    /// Normal after linking: the same socket cannot log in.
    ReconnectAtOnce,
    Stop(AccountState, String),
    Banned {
        reason: &'static str,
        lasts: Option<Duration>,
    },
    /// The service lacks an acknowledgement of ours.
    MissingAck,
}

fn stop(state: AccountState, reason: &str) -> Ending {
    Ending::Stop(state, reason.to_owned())
}

fn lost(reason: impl Into<String>) -> Ending {
    Ending::Reconnect(DisconnectReason::Lost(reason.into()))
}

/// Reads a `<stream:error>`.
pub(super) fn of_stream_error(node: &Node) -> Ending {
    const REMOVED: &str = "the device was removed from the phone";
    const REPLACED: &str = "another connection took this device's place";
    if let Some(conflict) = node.find("conflict") {
        return if conflict.is("type", "replaced") {
            stop(AccountState::Replaced, REPLACED)
        } else {
            stop(AccountState::LoggedOut, REMOVED)
        };
    }
    if node.find("ack").is_some() {
        return Ending::MissingAck;
    }
    match node.number("code") {
        Some(515) => Ending::ReconnectAtOnce,
        Some(401 | 516) => stop(AccountState::LoggedOut, REMOVED),
        Some(409) => stop(AccountState::Replaced, REPLACED),
        Some(429) => Ending::Reconnect(DisconnectReason::Slower("the service asks for fewer connections (429)")),
        Some(code) => lost(format!("the service ended the stream ({code})")),
        None if node.find("xml-not-well-formed").is_some() => lost("the service found a stanza of ours malformed"),
        None => lost("the service ended the stream"),
    }
}

/// Reads a `<failure>`: the refusal of a login.
pub(super) fn of_failure(node: &Node) -> Result<Ending, WireError> {
    let reason = node.number("reason").ok_or(WireError::Missing { tag: "failure".into(), what: "reason" })?;
    let (state, why) = match reason {
        500 | 503 => return Ok(lost(format!("the service refused the login for now ({reason})"))),
        402 => {
            let lasts = node.number("expire").map(Duration::from_secs);
            return Ok(Ending::Banned { reason: ban_meaning(node.number("code")), lasts });
        }
        401 | 406 => (AccountState::LoggedOut, "the service no longer knows this device"),
        403 => (AccountState::Locked, "the account is locked"),
        405 => (AccountState::Outdated, "the client version is too old; set network.client_version"),
        400 => (AccountState::Stopped, "the service found the login malformed (400)"),
        409 => (AccountState::Outdated, "the service refused the client's version or name (409)"),
        413 | 414 => (AccountState::Stopped, "the service refused the account's token (413, 414)"),
        415 => (AccountState::Stopped, "the service does not know the account (415)"),
        418 => (AccountState::Stopped, "the service does not know this kind of client (418)"),
        501 => (AccountState::Stopped, "the service does not support this login (501)"),
        other => return Ok(Ending::Stop(AccountState::Stopped, format!("the service refused the login ({other})"))),
    };
    Ok(stop(state, why))
}

/// The meaning of a temporary ban's code (`wire-protocol.md` 1.7).
fn ban_meaning(code: Option<u64>) -> &'static str {
    match code {
        Some(101) => "temporarily banned (101): messages to too many people who do not have this number",
        Some(102) => "temporarily banned (102): blocked by too many people",
        Some(103) => "temporarily banned (103): too many groups with people who do not have this number",
        Some(104) => "temporarily banned (104): the same message to too many people",
        Some(106) => "temporarily banned (106): too many messages to a broadcast list",
        _ => "temporarily banned",
    }
}
