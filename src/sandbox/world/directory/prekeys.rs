//! Prekeys at the service: upload, count, digest, bundles (`sandbox-service.md` 4).

use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::net::faults::FaultKind;
use crate::sandbox::world::refusal::{Answer, BAD_REQUEST, NOT_FOUND};
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::signal::PreKeyBundle;
use crate::wire::prekeys::{key_node, read_key, read_skey, skey_node};
use crate::wire::{Jid, Node, WireError};

/// With fewer prekeys left, the owner is notified.
const LOW_PREKEYS: usize = 5;
/// Prekeys stored for one device.
const MAX_PREKEYS: usize = 20_000;

impl World {
    pub(in crate::sandbox::world) fn encrypt_iq(&mut self, device: &DeviceId, iq: &Node) -> Answer {
        if let Some(keys) = iq.find("key") {
            let users: Vec<Jid> = keys.all("user").filter_map(|user| user.jid("jid")).collect();
            let answers: Vec<Node> = users.iter().map(|user| self.bundle_answer(user)).collect();
            return Ok(Some(Node::new("list").children(answers)));
        }
        if let Some(code) = self.refused_by_fault(device, iq) {
            return Err((u64::from(code), "refused"));
        }
        let keys = &mut self.registry.companion_mut(device).ok_or(NOT_FOUND)?.keys;
        if iq.find("count").is_some() {
            return Ok(Some(Node::new("count").attr("value", keys.prekeys.len())));
        }
        if let Some(skey) = iq.find("skey").or_else(|| iq.find("rotate").and_then(|rotate| rotate.find("skey"))) {
            // Parsed as a whole first: a malformed upload changes nothing.
            let malformed = |_: WireError| BAD_REQUEST;
            let signed = read_skey(skey).map_err(malformed)?;
            let uploaded = iq.find("list").into_iter().flat_map(|list| list.all("key"));
            let uploaded: Vec<_> = uploaded.map(read_key).collect::<Result<_, _>>().map_err(malformed)?;
            keys.signed_prekey = Some(signed);
            keys.prekeys.extend(uploaded);
            keys.prekeys.truncate(MAX_PREKEYS);
            self.touch(|| Row::Companion(device.clone()));
            return Ok(None);
        }
        if iq.find("digest").is_some() {
            return keys.digest().map(Some).ok_or(NOT_FOUND);
        }
        Err(BAD_REQUEST)
    }

    /// The code of a fault that refuses an upload, or a query of the digest.
    fn refused_by_fault(&mut self, device: &DeviceId, iq: &Node) -> Option<u16> {
        let (has_list, has_digest) = (iq.find("list").is_some(), iq.find("digest").is_some());
        let (kind, _) = self.fault(&device.number, |kind| match kind {
            FaultKind::RefusePrekeys { .. } => has_list,
            FaultKind::RefuseDigest { .. } => has_digest,
            _ => false,
        })?;
        match kind {
            FaultKind::RefusePrekeys { code } | FaultKind::RefuseDigest { code } => Some(code),
            _ => None,
        }
    }

    /// Takes a device's bundle for one new session; with the signed identity of a companion.
    pub(in crate::sandbox::world) fn take_bundle(
        &mut self,
        device: &DeviceId,
    ) -> Option<(PreKeyBundle, Option<Vec<u8>>)> {
        let taken = self.registry.account_mut(&device.number)?.take_bundle(device.device)?;
        self.touch(|| match device.device {
            0 => Row::Phone(device.number.clone()),
            _ => Row::Companion(device.clone()),
        });
        Some(taken)
    }

    /// One `<user>` of a prekey answer.
    fn bundle_answer(&mut self, user: &Jid) -> Node {
        let answer = Node::new("user").attr("jid", user);
        let device = self.registry.number_of(user).map(|number| DeviceId { number, device: user.device() });
        let taken = device.as_ref().and_then(|device| Some((device, self.take_bundle(device)?)));
        let Some((device, (bundle, identity))) = taken else {
            return answer.child(Node::new("error").attr("code", "404").attr("text", "item-not-found"));
        };
        let is_without = self.fault(&device.number, |kind| kind == FaultKind::EmptyPrekeys).is_some();
        self.warn_of_low_prekeys(device);
        let answer = answer.attr("t", self.now.secs()).children([
            Node::new("registration").bytes(bundle.registration_id.to_be_bytes()),
            Node::new("type").bytes([5]),
            Node::new("identity").bytes(*bundle.identity.0.as_bytes()),
            skey_node(bundle.signed_pre_key_id, &bundle.signed_pre_key, &bundle.signature),
        ]);
        let one_time = bundle.one_time.filter(|_| !is_without).map(|(id, key)| key_node(id, &key));
        let identity = identity.map(|blob| Node::new("device-identity").bytes(blob));
        answer.children(one_time).children(identity)
    }

    fn warn_of_low_prekeys(&mut self, device: &DeviceId) {
        let Some(companion) = self.registry.companion_mut(device) else { return };
        let left = companion.keys.prekeys.len();
        let warned = companion.delivery.queue.iter().any(|queued| queued.node.is("type", "encrypt"));
        if left >= LOW_PREKEYS || warned {
            return;
        }
        self.notify(device, &Jid::service(), "encrypt", |it| it.child(Node::new("count").attr("value", left)));
    }
}
