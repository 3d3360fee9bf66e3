//! The keys of the service, and the certificate that clients verify.

use crate::base::time::Timestamp;
use crate::signal::{KeyPair, PublicKey};
use crate::wire::CertAuthority;
use crate::wire::transport::ServerTransport;
use rand::rngs::StdRng;

/// Key pairs of the service, as they are stored.
#[derive(Clone)]
pub(in crate::sandbox::world) struct ServiceKeys {
    pub(in crate::sandbox::world) root: KeyPair,
    pub(in crate::sandbox::world) intermediate: KeyPair,
    pub(in crate::sandbox::world) noise: KeyPair,
}

impl ServiceKeys {
    pub(in crate::sandbox::world) fn generate(rng: &mut StdRng) -> Self {
        Self { root: KeyPair::generate(rng), intermediate: KeyPair::generate(rng), noise: KeyPair::generate(rng) }
    }
}

/// The service as clients authenticate it.
pub(in crate::sandbox::world) struct Identity {
    keys: ServiceKeys,
    chain: Vec<u8>,
}

impl Identity {
    pub(in crate::sandbox::world) fn new(keys: ServiceKeys, now: Timestamp, rng: &mut StdRng) -> Self {
        let authority = CertAuthority::new(keys.root.clone(), keys.intermediate.clone());
        let chain = authority.issue(keys.noise.public(), now, rng);
        Self { keys, chain }
    }

    pub(in crate::sandbox::world) fn keys(&self) -> &ServiceKeys {
        &self.keys
    }

    pub(in crate::sandbox::world) fn root_key(&self) -> &PublicKey {
        self.keys.root.public()
    }

    /// The service's side of a new connection.
    pub(in crate::sandbox::world) fn accept(&self, rng: &mut StdRng) -> ServerTransport {
        ServerTransport::accept(self.keys.noise.clone(), self.chain.clone(), KeyPair::generate(rng))
    }
}
