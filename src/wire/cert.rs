//! The service's certificate chain (`wire-protocol.md` 1.3): root → intermediate → leaf, the leaf naming the Noise key.
//!
//! The root is a setting, so that the sandbox is verified by the same code as the real service.

use super::WireError;
use super::proto::{CertChain, cert_chain::NoiseCertificate, cert_chain::noise_certificate::Details};
use crate::base::time::Timestamp;
use crate::signal::{KeyPair, PublicKey, xeddsa};
use prost::Message;
use rand::CryptoRng;

/// Checks `chain` against the root and the static key of the handshake.
pub fn verify_chain(root: &PublicKey, chain: &[u8], noise_static: &PublicKey) -> Result<(), WireError> {
    let refuse = |why| WireError::Certificate { why };
    let chain = CertChain::decode(chain).map_err(|_| refuse("the chain is malformed"))?;
    let (Some(leaf_certificate), Some(intermediate_certificate)) = (chain.leaf, chain.intermediate) else {
        return Err(refuse("the leaf or the intermediate is missing"));
    };
    let leaf = details(&leaf_certificate)?;
    let intermediate = details(&intermediate_certificate)?;
    let intermediate_key = PublicKey::parse(intermediate.key(), "intermediate certificate's key")?;

    if intermediate.issuer_serial() != 0 {
        return Err(refuse("the intermediate was not issued by the root"));
    }
    if !signed_by(root, &intermediate_certificate) {
        return Err(refuse("the intermediate's signature is not the root's; check network.root_key"));
    }
    if leaf.issuer_serial() != intermediate.serial() {
        return Err(refuse("the leaf was not issued by the intermediate"));
    }
    if leaf.key() != noise_static.as_bytes() {
        return Err(refuse("the leaf names another key than the handshake used"));
    }
    if !signed_by(&intermediate_key, &leaf_certificate) {
        return Err(refuse("the leaf's signature is not the intermediate's"));
    }
    Ok(())
}

fn details(certificate: &NoiseCertificate) -> Result<Details, WireError> {
    Details::decode(certificate.details()).map_err(|_| WireError::Certificate { why: "the details are malformed" })
}

fn signed_by(issuer: &PublicKey, certificate: &NoiseCertificate) -> bool {
    xeddsa::verify(issuer, certificate.details(), certificate.signature())
}

/// Issues certificate chains, for the sandbox.
pub struct CertAuthority {
    root: KeyPair,
    intermediate: KeyPair,
}

impl CertAuthority {
    pub fn new(root: KeyPair, intermediate: KeyPair) -> Self {
        Self { root, intermediate }
    }

    /// The root that clients must trust.
    pub fn root_key(&self) -> &PublicKey {
        self.root.public()
    }

    /// A chain for this Noise key, valid from `now` for ten years.
    pub fn issue(&self, noise_static: &PublicKey, now: Timestamp, rng: &mut dyn CryptoRng) -> Vec<u8> {
        let intermediate = self.sign(&self.root, (1, 0), self.intermediate.public(), now, rng);
        let leaf = self.sign(&self.intermediate, (2, 1), noise_static, now, rng);
        CertChain { leaf: Some(leaf), intermediate: Some(intermediate) }.encode_to_vec()
    }

    fn sign(
        &self,
        issuer: &KeyPair,
        (serial, issuer_serial): (u32, u32),
        key: &PublicKey,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> NoiseCertificate {
        let details = Details {
            serial: Some(serial),
            issuer_serial: Some(issuer_serial),
            key: Some(key.as_bytes().to_vec()),
            not_before: Some(now.secs()),
            not_after: Some(now.secs() + 10 * 365 * 86_400),
        }
        .encode_to_vec();
        let signature = xeddsa::sign(issuer.secret(), &details, rng).to_vec();
        NoiseCertificate { details: Some(details), signature: Some(signature) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::{bytes, rng, vector_bytes, vectors};

    fn known() -> (PublicKey, Vec<u8>, PublicKey) {
        let v = &vectors()["cert_chain"];
        let key = |name: &str| PublicKey::from_bytes(bytes(&v[name]));
        (key("root_pub"), vector_bytes(&v["chain_proto"]), key("server_static_pub"))
    }

    #[test]
    fn the_known_chain_is_accepted() {
        let (root, chain, leaf) = known();
        assert_eq!(verify_chain(&root, &chain, &leaf), Ok(()));
    }

    #[test]
    fn a_wrong_root_key_is_refused() {
        let (_, chain, leaf) = known();
        let other = KeyPair::generate(&mut rng(1));
        let refused = verify_chain(other.public(), &chain, &leaf).unwrap_err();
        assert!(refused.to_string().contains("network.root_key"), "{refused}");
    }

    #[test]
    fn a_wrong_leaf_key_is_refused() {
        let (root, chain, _) = known();
        let other = KeyPair::generate(&mut rng(1));
        let why = "the leaf names another key than the handshake used";
        assert_eq!(verify_chain(&root, &chain, other.public()), Err(WireError::Certificate { why }));
    }

    #[test]
    fn a_leaf_signed_by_another_key_is_refused() {
        let mut rng = rng(2);
        let (root, noise) = (KeyPair::generate(&mut rng), KeyPair::generate(&mut rng));
        let honest = CertAuthority::new(root.clone(), KeyPair::generate(&mut rng));
        let forger = CertAuthority::new(root, KeyPair::generate(&mut rng));
        let now = Timestamp::from_secs(1);
        let decode = |bytes: Vec<u8>| CertChain::decode(&*bytes).unwrap();
        let mut chain = decode(honest.issue(noise.public(), now, &mut rng));
        chain.leaf = decode(forger.issue(noise.public(), now, &mut rng)).leaf;
        let why = "the leaf's signature is not the intermediate's";
        let result = verify_chain(honest.root_key(), &chain.encode_to_vec(), noise.public());
        assert_eq!(result, Err(WireError::Certificate { why }));
    }
}
