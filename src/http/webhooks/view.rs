//! A webhook as JSON.

use crate::webhook::Endpoint;
use serde_json::{Value, json};

/// Header values may be credentials and are not shown again; neither is the secret.
pub(in crate::http) fn render(endpoint: &Endpoint) -> Value {
    json!({
        "id": endpoint.id,
        "url": endpoint.url,
        "events": endpoint.events,
        "accounts": endpoint.accounts,
        "headers": endpoint.headers.keys().collect::<Vec<_>>(),
        "disabled": endpoint.disabled,
        "created_at": endpoint.created_at.rfc3339(),
    })
}

/// Once, the secret is shown.
pub(in crate::http) fn render_new(endpoint: &Endpoint) -> String {
    let mut answer = render(endpoint);
    answer["secret"] = json!(endpoint.secrets.first().map(|secret| secret.expose()));
    answer.to_string()
}
