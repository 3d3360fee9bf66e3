//! Proxies: SOCKS5 (RFC 1928, 1929), or HTTP CONNECT (RFC 9110, 9.3.6).

use crate::actors::error::ActorError;
use crate::actors::transport::socket::Socket;
use crate::base::secret_text::SecretText;
use crate::webhook::{is_public, is_public_host};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio_socks::tcp::Socks5Stream;
use url::{Host, Url};

/// Most bytes of the head of a proxy's answer.
const MAX_HEAD: usize = 8 * 1024;
const PRIVATE: &str = "is at a private address; network.allow_private_proxies would allow that";

/// A proxy, with its password where it has one.
#[derive(Clone)]
pub struct Proxy {
    url: Url,
    /// True if the proxy may be at a private, loopback or link-local address.
    allow_private: bool,
}

impl Proxy {
    /// Parses `socks5://` or `http://` with a host, and with user and password where the proxy requires them.
    pub fn parse(text: &SecretText, allow_private: bool) -> Result<Self, ActorError> {
        let bad = |why: &str| ActorError::BadField { field: "proxy", why: why.to_owned() };
        let url = Url::parse(text.expose()).map_err(|_| bad("is not a URL"))?;
        if !matches!(url.scheme(), "socks5" | "http") {
            return Err(bad("must begin with socks5:// or http://"));
        }
        if url.host_str().is_none_or(str::is_empty) || !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(bad("must be a scheme, a host and a port, and nothing else"));
        }
        // The host of a scheme that is not of the web is opaque text, in which 0 and 0x7f.1 are addresses too.
        let host = Host::parse(url.host_str().unwrap_or_default()).map_err(|_| bad("has a malformed host"))?;
        if !allow_private && !is_public_host(&host) {
            return Err(bad(PRIVATE));
        }
        Ok(Self { url, allow_private })
    }

    fn may_be_at(&self, address: IpAddr) -> bool {
        self.allow_private || is_public(address)
    }

    /// The URL without the password, for display.
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        if url.password().is_some() {
            // Fails only for a URL without a host.
            let _ = url.set_password(Some("***"));
        }
        url.to_string()
    }

    fn host(&self) -> (&str, u16) {
        let default = if self.url.scheme() == "http" { 80 } else { 1080 };
        (self.url.host_str().unwrap_or_default().trim_matches(['[', ']']), self.url.port().unwrap_or(default))
    }

    fn login(&self) -> Option<(String, String)> {
        let text = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let user = text(self.url.username());
        (!user.is_empty()).then(|| (user, text(self.url.password().unwrap_or_default())))
    }

    /// A connection to the target through the proxy. Names are looked up by the proxy.
    pub(in crate::actors) async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Socket>, ActorError> {
        let failed = |why: String| ActorError::Network(format!("the proxy {}: {why}", self.shown()));
        // Connect to the checked addresses only.
        let found = lookup_host(self.host()).await.map_err(|error| failed(error.to_string()))?;
        let allowed: Vec<_> = found.filter(|address| self.may_be_at(address.ip())).collect();
        if allowed.is_empty() {
            return Err(failed(PRIVATE.to_owned()));
        }
        let tcp = TcpStream::connect(&*allowed).await.map_err(|error| failed(error.to_string()))?;
        tcp.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        if self.url.scheme() == "http" {
            let tunnel = self.tunnel(tcp, host, port).await.map_err(|error| failed(error.to_string()))?;
            return Ok(Box::new(tunnel));
        }
        let target = (host, port);
        let stream = match self.login() {
            Some((user, password)) => {
                Socks5Stream::connect_with_password_and_socket(tcp, target, &user, &password).await
            }
            None => Socks5Stream::connect_with_socket(tcp, target).await,
        };
        Ok(Box::new(stream.map_err(|error| failed(error.to_string()))?))
    }

    async fn tunnel(&self, mut tcp: TcpStream, host: &str, port: u16) -> io::Result<TcpStream> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let login = self.login().map(|(user, password)| STANDARD.encode(format!("{user}:{password}")));
        let login = login.map(|login| format!("Proxy-Authorization: Basic {login}\r\n")).unwrap_or_default();
        let request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{login}\r\n");
        tcp.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        // Byte by byte: the bytes behind the head belong to the service.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= MAX_HEAD {
                return Err(io::Error::other("its answer is too long"));
            }
            head.push(tcp.read_u8().await?);
        }
        let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
        let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).unwrap_or_default();
        if code.starts_with('2') { Ok(tcp) } else { Err(io::Error::other(format!("it refuses: {line}"))) }
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(text: &str) -> Result<Proxy, ActorError> {
        Proxy::parse(&SecretText::new(text.into()), false)
    }

    #[test]
    fn password_is_decoded_for_login_and_hidden_in_debug_output() {
        let proxy = proxy("socks5://bot:p%40ss@proxy.example:1081").unwrap();
        assert_eq!(proxy.login(), Some(("bot".into(), "p@ss".into())));
        assert_eq!(proxy.host(), ("proxy.example", 1081));
        assert_eq!(format!("{proxy:?}"), "socks5://bot:***@proxy.example:1081");
    }

    #[test]
    fn private_address_is_rejected_unless_allowed() {
        for private in [
            "http://127.0.0.1:3128",
            "socks5://[::1]",
            "http://10.0.0.7",
            "http://169.254.169.254",
            "socks5://localhost:1",
            "socks5://LOCALHOST.:1",
            "socks5://0:1",
            "socks5://0x7f.1:1",
            "http://localhost",
        ] {
            assert!(proxy(private).is_err(), "{private}");
            assert!(Proxy::parse(&SecretText::new(private.into()), true).is_ok(), "{private}");
        }
        assert!(proxy("http://9.9.9.9:3128").is_ok());
    }

    #[test]
    fn malformed_proxy_is_rejected() {
        for wrong in ["", "proxy:80", "ftp://proxy", "http://", "http://proxy/path", "http://proxy?x=1"] {
            assert!(proxy(wrong).is_err(), "{wrong}");
        }
        assert_eq!(proxy("http://proxy").unwrap().host(), ("proxy", 80));
    }

    #[tokio::test]
    async fn name_that_resolves_to_a_private_address_is_not_connected_to() {
        let proxy = Proxy { url: Url::parse("socks5://localhost:1").unwrap(), allow_private: false };
        let error = proxy.connect("example.org", 443).await.err().unwrap();
        assert!(error.to_string().contains(PRIVATE), "{error}");
    }
}
