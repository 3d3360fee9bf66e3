//! A webhook as a JSON body.

use crate::webhook::Endpoint;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct WebhookPath {
    #[param(example = "wh_0123456789abcdef")]
    pub(super) webhook: String,
}

/// A webhook. The values of its headers may be credentials, and are not shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(super) struct WebhookBody {
    /// The accounts whose events are delivered; null for all.
    accounts: Option<Vec<String>>,
    #[schema(format = DateTime)]
    created_at: String,
    /// Set when the endpoint answered 410.
    disabled: bool,
    /// Types and patterns: `message.received`, `message.*`, `*`.
    events: Vec<String>,
    /// The names of the headers.
    headers: Vec<String>,
    id: String,
    /// The signing secret; in the answer to the creation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    url: String,
}

impl From<&Endpoint> for WebhookBody {
    fn from(endpoint: &Endpoint) -> Self {
        Self {
            accounts: endpoint.accounts.clone(),
            created_at: endpoint.created_at.rfc3339(),
            disabled: endpoint.disabled,
            events: endpoint.events.clone(),
            headers: endpoint.headers.keys().cloned().collect(),
            id: endpoint.id.to_string(),
            secret: None,
            url: endpoint.url.clone(),
        }
    }
}

impl WebhookBody {
    /// With the secret, which is shown once.
    pub(super) fn created(endpoint: &Endpoint) -> Self {
        let secret = endpoint.secrets.first().map(|secret| secret.expose().to_owned());
        Self { secret, ..Self::from(endpoint) }
    }
}
