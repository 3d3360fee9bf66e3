//! The certificate root of a sandbox, which serves it on the port of its WebSocket. A sandbox that stores nothing has another
//! root after a restart, so a refused certificate is a reason to query the root again.

use crate::actors::error::ActorError;
use crate::signal::PublicKey;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use url::Url;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Shared by all accounts of a sandbox whose root is not configured.
pub struct SandboxRoot {
    url: Url,
    client: reqwest::Client,
    known: Mutex<Option<PublicKey>>,
    refreshing: AtomicBool,
}

impl SandboxRoot {
    /// `websocket` is the sandbox's URL for clients; `extra_roots` are DER certificates of its TLS authority.
    pub fn new(websocket: &str, extra_roots: &[Vec<u8>]) -> Result<Self, ActorError> {
        let failed = |why: String| ActorError::Network(format!("{websocket}: {why}"));
        let http = websocket.replacen("ws", "http", 1);
        let url = Url::parse(&http).and_then(|url| url.join("/root-key")).map_err(|error| failed(error.to_string()))?;
        let mut client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
        for root in extra_roots {
            let root = reqwest::Certificate::from_der(root).map_err(|error| failed(error.to_string()))?;
            client = client.add_root_certificate(root);
        }
        let client = client.build().map_err(|error| failed(error.to_string()))?;
        Ok(Self { url, client, known: Mutex::default(), refreshing: AtomicBool::new(false) })
    }

    /// Queries the root of the running sandbox.
    pub async fn query(&self) -> Result<PublicKey, ActorError> {
        let failed = |why: String| ActorError::Network(format!("{}: {why}", self.url));
        let answer = self.client.get(self.url.clone()).send().await.and_then(reqwest::Response::error_for_status);
        let text = match answer {
            Ok(answer) => answer.text().await,
            Err(error) => Err(error),
        };
        let text = text.map_err(|error| failed(error.without_url().to_string()))?;
        let bytes = hex::decode(text.trim()).unwrap_or_default();
        let root = PublicKey::parse(&bytes, "root key").map_err(|error| failed(error.to_string()))?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(root);
        Ok(root)
    }

    /// The root of the last query.
    pub(super) fn known(&self) -> Option<PublicKey> {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queries the root again, unless another account is doing so. The next connection uses it.
    pub(super) async fn refresh(&self) {
        if self.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let _guard = Refreshing(&self.refreshing);
        let before = self.known();
        match self.query().await {
            Ok(root) if before != Some(root) => tracing::info!("the sandbox has another certificate root"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the sandbox's certificate root cannot be queried"),
        }
    }
}

/// Ends a refresh, even one whose account is stopped.
struct Refreshing<'r>(&'r AtomicBool);

impl Drop for Refreshing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
