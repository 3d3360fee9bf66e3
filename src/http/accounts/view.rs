//! An account as JSON.

use crate::actors::{AccountInfo, Proxy};
use crate::http::problem::Problem;
use serde_json::{Map, Value, json};

/// An account as JSON.
pub(in crate::http) fn render(info: &AccountInfo) -> Value {
    let view = &info.view;
    json!({
        "id": info.id,
        "label": info.label,
        "metadata": info.metadata,
        "created_at": info.created_at.rfc3339(),
        "state": view.state,
        "reason": view.reason,
        "next_attempt_at": view.next_attempt_at.map(|at| at.rfc3339()),
        "jid": view.jid.as_ref().map(ToString::to_string),
        "lid": view.lid.as_ref().map(ToString::to_string),
        "push_name": view.push_name,
        "linked_at": view.linked_at.map(|at| at.rfc3339()),
        "restarts": info.restarts,
        "device_name": info.options.device_name,
        "proxy": info.options.proxy.as_ref().and_then(|proxy| Proxy::parse(proxy, true).ok()).map(|proxy| proxy.shown()),
    })
}

const MAX_METADATA: usize = 16 * 1024;

pub(in crate::http) fn check_description(
    label: Option<&str>,
    metadata: Option<&Map<String, Value>>,
) -> Result<(), Problem> {
    if label.is_some_and(|label| label.chars().count() > 200) {
        return Err(Problem::field("label", "must have 200 characters or fewer"));
    }
    let length = |metadata| serde_json::to_vec(metadata).map_or(0, |json| json.len());
    if metadata.is_some_and(|metadata| length(metadata) > MAX_METADATA) {
        return Err(Problem::field("metadata", "must be 16 KiB or smaller"));
    }
    Ok(())
}
