//! Event types, and patterns of them.

use crate::http::problem::Problem;

/// Every event type that this server emits.
pub const EVENT_TYPES: [&str; 9] = [
    "account.qr",
    "account.state",
    "group.participants",
    "group.updated",
    "identity.changed",
    "message.received",
    "message.sent",
    "message.status",
    "message.undecryptable",
];

/// Refuses a type that is never emitted, and a pattern such as `message.*` that matches none: its subscriber would wait in vain.
pub(in crate::http) fn check(field: &str, pattern: &str) -> Result<(), Problem> {
    let is_known = match pattern.strip_suffix('*') {
        Some(prefix) => EVENT_TYPES.iter().any(|known| known.starts_with(prefix)),
        None => EVENT_TYPES.contains(&pattern),
    };
    if is_known {
        return Ok(());
    }
    let known = EVENT_TYPES.join(", ");
    let why = format!("there is no event type {pattern:?}; known are {known}, and patterns such as message.* and *");
    Err(Problem::field(field, why))
}
