//! Byte streams to the service: plain TCP, a proxy's tunnel, or TLS over either.

use tokio::io::{AsyncRead, AsyncWrite};

/// A connected byte stream.
pub(in crate::actors) trait Socket: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Socket for S {}
