//! The sandbox's own certificate authority, for its media host and for `wss`.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::IpAddr;
use std::sync::Arc;

/// An error of the certificate authority.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the sandbox's certificates cannot be issued: {0}; check ca.key in its data folder")]
    Certificate(#[from] rcgen::Error),
    #[error("the sandbox's tls cannot be configured: {0}")]
    Tls(#[from] rustls::Error),
}

/// An authority that clients of the sandbox must trust.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority. Its key does not follow from the world's seed.
    pub fn generate() -> Result<Self, TlsError> {
        Self::with_key(KeyPair::generate()?)
    }

    /// The authority of a stored key.
    pub fn from_pem(key: &str) -> Result<Self, TlsError> {
        Self::with_key(KeyPair::from_pem(key)?)
    }

    fn with_key(key: KeyPair) -> Result<Self, TlsError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "Wharf sandbox");
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, key)? })
    }

    /// The certificate that clients must trust.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The secret key, to be stored.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// TLS of a server on this address and on `localhost`.
    pub fn server_config(&self, address: IpAddr) -> Result<ServerConfig, TlsError> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        names.push(address.to_string());
        names.push("mmg.whatsapp.net".to_owned());
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name.push(DnType::CommonName, "Wharf sandbox server");
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?)
    }
}
