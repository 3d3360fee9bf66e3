//! One attempt of a webhook delivery: the request, and its outcome.

use crate::actors::committer::rows::{EventRow, NewDelivery, decode_endpoint};
use crate::actors::committer::store::Store;
use crate::base::ids::{AccountKey, EndpointId};
use crate::base::time::Clock;
use crate::storage::{StorageError, kind};
use crate::webhook::{Endpoint, TargetError, check_url, is_public, signature};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::sync::Arc;
use std::time::Duration;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// How an attempt ended.
pub(super) enum Outcome {
    Accepted,
    Failed {
        why: String,
        retry_after: Option<Duration>,
    },
    /// 410: the endpoint is to be disabled.
    Gone,
    /// The endpoint or the event was deleted.
    Moot,
}

/// The HTTP client of all attempts: no redirects, no proxy, public addresses only unless private ones are allowed.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    allow_private: bool,
}

impl Client {
    pub(super) fn new(allow_private: bool) -> Result<Self, reqwest::Error> {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(ANSWER_TIMEOUT)
            .user_agent(concat!("wharf/", env!("CARGO_PKG_VERSION")));
        let builder = if allow_private { builder } else { builder.dns_resolver(Arc::new(PublicOnly)) };
        Ok(Self { http: builder.build()?, allow_private })
    }

    /// A request to a target that is allowed now: a literal address is not resolved, and the settings may have changed.
    fn post(&self, url: &str) -> Result<reqwest::RequestBuilder, TargetError> {
        Ok(self.http.post(check_url(url, self.allow_private)?))
    }
}

pub(super) fn find(store: &Store, id: &EndpointId) -> Result<Option<Endpoint>, StorageError> {
    let key = id.as_str().as_bytes();
    store.records.get(AccountKey::SERVER, kind::ENDPOINT, key)?.map(|value| decode_endpoint(key, &value)).transpose()
}

pub(super) async fn attempt(store: Store, client: Client, clock: Arc<dyn Clock>, delivery: NewDelivery) -> Outcome {
    let failed = |why: String| Outcome::Failed { why, retry_after: None };
    let endpoint = match find(&store, &delivery.endpoint) {
        Ok(Some(endpoint)) if !endpoint.disabled => endpoint,
        Ok(_) => return Outcome::Moot,
        Err(error) => return failed(error.to_string()),
    };
    let stored = store.records.get(delivery.row.account, kind::EVENT, &delivery.position.to_be_bytes());
    let event = match stored {
        Ok(bytes) => bytes.as_deref().and_then(EventRow::decode),
        Err(error) => return failed(error.to_string()),
    };
    let Some(event) = event else { return Outcome::Moot };
    let timestamp = clock.now().secs();
    let mut request = match client.post(&endpoint.url) {
        Ok(request) => request,
        Err(error) => return failed(error.to_string()),
    };
    for (name, value) in &endpoint.headers {
        request = request.header(name, value);
    }
    let answer = request
        .header("content-type", "application/json")
        .header("webhook-id", &delivery.row.event)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signature(&endpoint.secrets, &delivery.row.event, timestamp, &event.body))
        .body(event.body)
        .send()
        .await;
    match answer {
        Ok(answer) if answer.status().is_success() => Outcome::Accepted,
        Ok(answer) if answer.status().as_u16() == 410 => Outcome::Gone,
        Ok(answer) => {
            let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            let why = format!("the endpoint answered {}", answer.status().as_u16());
            Outcome::Failed { why, retry_after: after.map(Duration::from_secs) }
        }
        Err(error) => failed(describe(&error)),
    }
}

/// The chain of causes, without the URL, which may hold a token.
fn describe(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { "no connection".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Resolves names to public addresses only, so that the checked address is the one connected to.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<_> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("the name resolves to no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_address_is_checked_at_each_connection() {
        // Another test may have installed one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new(false).unwrap();
        assert_eq!(client.post("http://127.0.0.1:80/").err(), Some(TargetError::Private));
        assert!(Client::new(true).unwrap().post("http://127.0.0.1:80/").is_ok());
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_private_addresses_is_not_connected_to() {
        let found = PublicOnly.resolve("localhost".parse().unwrap()).await;
        assert!(found.err().unwrap().to_string().contains("no public address"));
    }
}
