//! JSON bodies, read strictly: unknown fields are errors that name the field.

use super::problem::Problem;
use serde::de::DeserializeOwned;

/// Reads a body; an empty one counts as `{}`.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Problem::new(400, "invalid_body", format!("the body: {error}")))
}
