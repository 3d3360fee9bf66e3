//! Event types, and patterns of them.

use crate::account::event_types;
use crate::http::problem::Problem;

/// Refuses a type that is never emitted, and a pattern such as `message.*` that matches none: its subscriber would wait in vain.
pub(in crate::http) fn check(field: &str, pattern: &str) -> Result<(), Problem> {
    let types = event_types();
    let is_known = match pattern.strip_suffix('*') {
        Some(prefix) => types.iter().any(|known| known.starts_with(prefix)),
        None => types.contains(&pattern),
    };
    if is_known {
        return Ok(());
    }
    let known = types.join(", ");
    let why = format!("there is no event type {pattern:?}; known are {known}, and patterns such as message.* and *");
    Err(Problem::field(field, why))
}
