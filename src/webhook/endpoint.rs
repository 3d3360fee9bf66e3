//! Webhook endpoints and their pending deliveries.

use super::sign::Secret;
use crate::base::ids::EndpointId;
use crate::base::time::Timestamp;
use crate::storage::NewEvent;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The settings of an endpoint to be created.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    pub url: String,
    pub events: Vec<String>,
    pub accounts: Option<Vec<String>>,
    pub headers: BTreeMap<String, String>,
}

/// A webhook endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endpoint {
    pub id: EndpointId,
    pub url: String,
    /// Such as `message.received`, `message.*` or `*`.
    pub events: Vec<String>,
    pub accounts: Option<Vec<String>>,
    pub headers: BTreeMap<String, String>,
    /// The newest first.
    pub secrets: Vec<Secret>,
    /// Set when the endpoint answers 410 (Gone).
    pub disabled: bool,
    pub created_at: Timestamp,
}

impl Endpoint {
    /// Whether the endpoint subscribes to the event.
    pub fn wants(&self, event: &NewEvent) -> bool {
        let account = self.accounts.as_ref().is_none_or(|accounts| accounts.contains(&event.account));
        account && !self.disabled && self.events.iter().any(|pattern| matches(pattern, event.kind))
    }
}

fn matches(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => kind.starts_with(prefix),
        None => pattern == kind,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    Pending,
    Dead,
}

/// A delivery that the endpoint has not accepted yet. Its row is deleted on acceptance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub event: String,
    /// The internal id of the account, as hex: where the event's body is.
    pub account: crate::base::ids::AccountKey,
    pub chat: String,
    pub failed: u32,
    pub next_at: Timestamp,
    pub status: DeliveryStatus,
    pub last_error: Option<String>,
}

/// `endpoint ‖ 0 ‖ position`: an endpoint's deliveries lie together, in the order of the log.
pub fn delivery_key(endpoint: &EndpointId, position: u64) -> Vec<u8> {
    [endpoint.as_str().as_bytes(), &[0], &position.to_be_bytes()].concat()
}

/// The parts of a delivery's key.
pub fn position_of(key: &[u8]) -> Option<(EndpointId, u64)> {
    let (head, position) = key.split_last_chunk::<8>()?;
    let id = std::str::from_utf8(head.strip_suffix(&[0])?).ok()?;
    Some((EndpointId::new(id), u64::from_be_bytes(*position)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_choose_events() {
        assert!(matches("*", "message.received"));
        assert!(matches("message.*", "message.received"));
        assert!(!matches("message.*", "account.state"));
        assert!(!matches("message.receive", "message.received"));
    }

    #[test]
    fn an_endpoint_has_the_golden_form() {
        let stored = r#"{"id":"wh_1","url":"http://a/","events":["*"],"accounts":["support"],"headers":{"x":"y"},"secrets":["whsec_AA=="],"disabled":false,"created_at":1}"#;
        let endpoint: Endpoint = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_string(&endpoint).unwrap(), stored);
    }

    #[test]
    fn a_delivery_key_is_read_back() {
        let id = EndpointId::new("wh_1");
        assert_eq!(position_of(&delivery_key(&id, 7)), Some((id, 7)));
        assert_eq!(position_of(b"short"), None);
    }
}
