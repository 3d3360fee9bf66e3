//! The part of a list that is asked for.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Page {
    pub(in crate::http) limit: Option<usize>,
    pub(in crate::http) cursor: Option<String>,
}
