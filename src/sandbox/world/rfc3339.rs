//! Times in bodies of the control API.

use crate::base::time::Timestamp;
use serde::Serializer;

pub(in crate::sandbox::world) fn required<S: Serializer>(at: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&at.rfc3339())
}

pub(in crate::sandbox::world) fn optional<S: Serializer>(at: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => s.serialize_some(&at.rfc3339()),
        None => s.serialize_none(),
    }
}
