//! The WebSocket to the service (`wire-protocol.md` 1.1), with or without TLS.

use crate::actors::error::ActorError;
use crate::actors::transport::proxy::Proxy;
use crate::actors::transport::sandbox_root::SandboxRoot;
use crate::actors::transport::socket::Socket;
use crate::base::secret_text::SecretText;
use crate::wire::WireError;
use crate::wire::payload::NoiseKeys;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes. The buffer is allocated at once and cleared before each read; a longer frame gets the room that it needs.
const READ_BUFFER: usize = 4096;
const ORIGIN: &str = "https://web.whatsapp.com";

/// The service's address, and the way to reach it.
#[derive(Clone)]
pub struct Network {
    url: Url,
    tls: Arc<ClientConfig>,
    /// An unusable proxy fails every connection: it is never bypassed.
    proxy: Option<Result<Proxy, ActorError>>,
    allow_private_proxies: bool,
    sandbox_root: Option<Arc<SandboxRoot>>,
}

impl Network {
    /// `extra_roots` are DER certificates of additional authorities.
    pub fn new(url: &str, extra_roots: Vec<Vec<u8>>, allow_private_proxies: bool) -> Result<Self, ActorError> {
        let bad = |why: String| ActorError::Network(why);
        let url = Url::parse(url).map_err(|error| bad(format!("network.url {url:?}: {error}")))?;
        if !matches!(url.scheme(), "ws" | "wss") || url.host_str().is_none() {
            return Err(bad(format!("network.url {url}: expected ws:// or wss:// and a host")));
        }
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for der in extra_roots {
            roots.add(der.into()).map_err(|error| bad(format!("network.ca_file: {error}")))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { url, tls: Arc::new(tls), proxy: None, allow_private_proxies, sandbox_root: None })
    }

    /// The same with a certificate root that can change.
    pub fn with_sandbox_root(self, sandbox_root: Option<Arc<SandboxRoot>>) -> Self {
        Self { sandbox_root, ..self }
    }

    /// Replaces the root that a connection must trust by the sandbox's current one.
    pub(in crate::actors) fn current_root(&self, keys: NoiseKeys) -> NoiseKeys {
        match self.sandbox_root.as_ref().and_then(|root| root.known()) {
            Some(root) => NoiseKeys { root, ..keys },
            None => keys,
        }
    }

    /// A connection has failed: a refused certificate may be that of a restarted sandbox.
    pub(in crate::actors) async fn failed(&self, error: &WireError) {
        if let (Some(root), WireError::Certificate { .. }) = (&self.sandbox_root, error) {
            root.refresh().await;
        }
    }

    /// The same through a proxy.
    pub(in crate::actors) fn through(&self, proxy: Option<&SecretText>) -> Self {
        let proxy = proxy.map(|text| self.proxy(text));
        Self { proxy, ..self.clone() }
    }

    /// Parses a proxy, and rejects one at a forbidden address.
    pub(in crate::actors) fn proxy(&self, text: &SecretText) -> Result<Proxy, ActorError> {
        Proxy::parse(text, self.allow_private_proxies)
    }

    pub(in crate::actors) async fn connect(&self) -> Result<WebSocketStream<Box<dyn Socket>>, ActorError> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.open())
            .await
            .unwrap_or_else(|_| Err(ActorError::Network(format!("{}: connecting timed out", self.url))))
    }

    async fn open(&self) -> Result<WebSocketStream<Box<dyn Socket>>, ActorError> {
        let failed = |error: String| ActorError::Network(format!("{}: {error}", self.url));
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = self.url.port_or_known_default().unwrap_or(443);
        let tcp: Box<dyn Socket> = match &self.proxy {
            Some(Ok(proxy)) => proxy.connect(&host, port).await?,
            Some(Err(error)) => return Err(error.clone()),
            None => {
                let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(|error| failed(error.to_string()))?;
                tcp.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
                Box::new(tcp)
            }
        };
        let socket: Box<dyn Socket> = if self.url.scheme() == "wss" {
            let name = ServerName::try_from(host).map_err(|error| failed(error.to_string()))?;
            let tls = TlsConnector::from(self.tls.clone()).connect(name, tcp);
            Box::new(tls.await.map_err(|error| failed(error.to_string()))?)
        } else {
            tcp
        };
        let mut request = self.url.as_str().into_client_request().map_err(|error| failed(error.to_string()))?;
        request.headers_mut().insert("origin", HeaderValue::from_static(ORIGIN));
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(READ_BUFFER);
        let connected = client_async_with_config(request, socket, Some(config));
        let (socket, _) = connected.await.map_err(|error| failed(error.to_string()))?;
        Ok(socket)
    }
}
