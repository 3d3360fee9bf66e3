//! Prekeys in stanzas: bundles as they are uploaded, fetched and served (`wire-protocol.md` 1.10).

use super::node::Node;
use super::{Jid, WireError};
use crate::signal::{IdentityKey, PreKeyBundle, PreKeyId, PublicKey, SignedPreKeyId};

/// A one-time prekey's public half, as `<key>`.
pub fn key_node(id: PreKeyId, public: &PublicKey) -> Node {
    Node::new("key").child(Node::new("id").bytes(id.to_wire())).child(Node::new("value").bytes(*public.as_bytes()))
}

/// A signed prekey's public half, as `<skey>`.
pub fn skey_node(id: SignedPreKeyId, public: &PublicKey, signature: &[u8]) -> Node {
    Node::new("skey")
        .child(Node::new("id").bytes(id.to_wire()))
        .child(Node::new("value").bytes(*public.as_bytes()))
        .child(Node::new("signature").bytes(signature))
}

/// Reads a `<key>`.
pub fn read_key(node: &Node) -> Result<(PreKeyId, PublicKey), WireError> {
    let id = PreKeyId::from_wire(node.require_child("id")?.content_bytes())?;
    let key = PublicKey::parse(node.require_child("value")?.content_bytes(), "one-time prekey")?;
    Ok((id, key))
}

/// Reads a `<skey>`: id, key, signature (not yet checked).
pub fn read_skey(node: &Node) -> Result<(SignedPreKeyId, PublicKey, Vec<u8>), WireError> {
    let id = SignedPreKeyId::from_wire(node.require_child("id")?.content_bytes())?;
    let key = PublicKey::parse(node.require_child("value")?.content_bytes(), "signed prekey")?;
    Ok((id, key, node.require_child("signature")?.content_bytes().to_vec()))
}

/// The ids of the one-time prekeys in a `<digest>`; its list may have children of any name.
pub fn read_digest_ids(digest: &Node) -> Result<Vec<PreKeyId>, WireError> {
    let list = digest.require_child("list")?;
    list.nodes().iter().map(|id| Ok(PreKeyId::from_wire(id.content_bytes())?)).collect()
}

/// A bundle (its signature not yet checked): a `<user>` holds all of it; of a retry receipt the registration id stands beside `<keys>`.
pub fn read_bundle(head: &Node, keys: &Node) -> Result<PreKeyBundle, WireError> {
    let (signed_pre_key_id, signed_pre_key, signature) = read_skey(keys.require_child("skey")?)?;
    let registration = head.require_child("registration")?.array("registration id")?;
    let identity = PublicKey::parse(keys.require_child("identity")?.content_bytes(), "identity key")?;
    Ok(PreKeyBundle {
        registration_id: u32::from_be_bytes(registration),
        identity: IdentityKey(identity),
        signed_pre_key_id,
        signed_pre_key,
        signature,
        one_time: keys.find("key").map(read_key).transpose()?,
    })
}

/// The reason for a device's missing bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoBundle {
    #[error("the service has none ({0})")]
    Refused(u16),
    /// Devices upload their keys unchecked.
    #[error("it is malformed: {0}")]
    Malformed(WireError),
}

/// One `<user>` of a response: its device, and its bundle.
#[derive(Debug, Clone)]
pub struct FetchedBundle {
    pub device: Jid,
    pub result: Result<(PreKeyBundle, Option<Vec<u8>>), NoBundle>,
}

/// Reads `<user jid>` with a bundle, or with `<error code>`. An `Err` is a fault of the response, not of one device.
pub fn read_user(user: &Node) -> Result<FetchedBundle, WireError> {
    let device = user.require_jid("jid")?;
    if let Some(error) = user.find("error") {
        let code = error.number("code").and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
        return Ok(FetchedBundle { device, result: Err(NoBundle::Refused(code)) });
    }
    let device_identity = user.find("device-identity").map(|node| node.content_bytes().to_vec());
    let bundle = read_bundle(user, user).map_err(NoBundle::Malformed);
    Ok(FetchedBundle { device, result: bundle.map(|bundle| (bundle, device_identity)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_with_malformed_keys_is_named_with_the_reason() {
        let user = Node::new("user").attr("jid", Jid::pn("5511"));
        let keys = [
            Node::new("registration").bytes([0, 0, 0, 7]),
            Node::new("identity").bytes([9; 31]),
            skey_node(SignedPreKeyId::FIRST, &PublicKey::from_bytes([8; 32]), &[0; 64]),
        ];
        let read = read_user(&user.clone().children(keys)).unwrap();
        assert_eq!(read.device, Jid::pn("5511"));
        assert!(matches!(read.result, Err(NoBundle::Malformed(_))));
        let refused = read_user(&user.child(Node::new("error").attr("code", "404"))).unwrap();
        assert_eq!(refused.result.unwrap_err(), NoBundle::Refused(404));
    }
}
