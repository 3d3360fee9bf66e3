//! Verifies the digest of our keys at the service (`wire-protocol.md` 1.10).

use crate::signal::prekey::bundle_digest;
use crate::signal::{LocalParty, PublicKey, SignedPreKeyPair};
use crate::wire::prekeys::read_skey;
use crate::wire::{Node, WireError};

/// A difference between our keys and those that the service holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mismatch {
    RegistrationId,
    Identity,
    SignedPreKey,
    /// The number of listed one-time prekeys that are not stored here.
    MissingPreKeys(usize),
    Hash,
}

/// Compares a `<digest>` with our own keys; `listed` finds the public half of each id.
pub(super) fn compare(
    digest: &Node,
    local: &LocalParty,
    signed: &SignedPreKeyPair,
    listed: &[Option<PublicKey>],
) -> Result<Vec<Mismatch>, WireError> {
    let mut found = Vec::new();
    let registration = digest.require_child("registration")?.array("registration id")?;
    if u32::from_be_bytes(registration) != local.registration_id {
        found.push(Mismatch::RegistrationId);
    }
    let identity = local.identity.public();
    if digest.require_child("identity")?.content_bytes() != identity.0.as_bytes() {
        found.push(Mismatch::Identity);
    }
    let (id, key, _) = read_skey(digest.require_child("skey")?)?;
    if (id, &key) != (signed.id, signed.pair.public()) {
        found.push(Mismatch::SignedPreKey);
    }
    let known: Vec<&PublicKey> = listed.iter().flatten().collect();
    if known.len() < listed.len() {
        found.push(Mismatch::MissingPreKeys(listed.len() - known.len()));
    } else if found.is_empty() {
        let ours = bundle_digest(&identity, signed.pair.public(), &signed.signature, known);
        if digest.require_child("hash")?.content_bytes() != ours {
            found.push(Mismatch::Hash);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::testing::rng;
    use crate::signal::{IdentityKeyPair, PreKeyId, SignedPreKeyId};
    use crate::wire::prekeys::{read_digest_ids, skey_node};

    fn ours() -> (LocalParty, SignedPreKeyPair, PublicKey) {
        let identity = IdentityKeyPair::generate(&mut rng(1));
        let signed = SignedPreKeyPair::generate(SignedPreKeyId::FIRST, &identity, &mut rng(2));
        (LocalParty { identity, registration_id: 7 }, signed, PublicKey::from_bytes([5; 32]))
    }

    fn digest(change: impl FnOnce(&mut LocalParty, &mut SignedPreKeyPair)) -> Node {
        let (mut local, mut signed, key) = ours();
        change(&mut local, &mut signed);
        let identity = local.identity.public();
        let hash = bundle_digest(&identity, signed.pair.public(), &signed.signature, [&key]);
        Node::new("digest").children([
            Node::new("registration").bytes(local.registration_id.to_be_bytes()),
            Node::new("identity").bytes(*identity.0.as_bytes()),
            skey_node(signed.id, signed.pair.public(), &signed.signature),
            Node::new("list").child(Node::new("whatever").bytes([0, 0, 1])),
            Node::new("hash").bytes(hash.to_vec()),
        ])
    }

    #[test]
    fn differences_from_the_service_are_named() {
        let (local, signed, key) = ours();
        let found = |digest: &Node, listed: &[Option<PublicKey>]| compare(digest, &local, &signed, listed).unwrap();
        assert_eq!(found(&digest(|_, _| {}), &[Some(key)]), []);
        let other = digest(|local, _| local.registration_id = 8);
        assert_eq!(found(&other, &[Some(key)]), [Mismatch::RegistrationId]);
        let other = digest(|local, _| local.identity = IdentityKeyPair::generate(&mut rng(9)));
        assert_eq!(found(&other, &[Some(key)]), [Mismatch::Identity]);
        let other = digest(|_, signed| signed.id = signed.id.next());
        assert_eq!(found(&other, &[Some(key)]), [Mismatch::SignedPreKey]);
        assert_eq!(found(&digest(|_, _| {}), &[Some(key), None]), [Mismatch::MissingPreKeys(1)]);
        assert_eq!(found(&digest(|_, _| {}), &[Some(PublicKey::from_bytes([6; 32]))]), [Mismatch::Hash]);
        assert_eq!(read_digest_ids(&digest(|_, _| {})).unwrap(), [PreKeyId::FIRST], "whatever the child is called");
    }
}
