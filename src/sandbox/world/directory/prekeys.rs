//! Prekeys at the service: upload, count, digest, bundles (`sandbox-service.md` 4).

use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::net::faults::FaultKind;
use crate::sandbox::world::refusal::{Answer, BAD_REQUEST, NOT_FOUND};
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::signal::PreKeyBundle;
use crate::wire::prekeys::{key_node, read_key, read_skey, skey_node};
use crate::wire::{Jid, Node, WireError};
use std::collections::VecDeque;

/// With fewer prekeys left, the owner is notified.
const LOW_PREKEYS: usize = 5;
/// Prekeys stored for one device.
const MAX_PREKEYS: usize = 20_000;

impl World {
    pub(in crate::sandbox::world) fn encrypt_iq(&mut self, device: &DeviceId, iq: &Node) -> Answer {
        let bad = |_: WireError| BAD_REQUEST;
        if let Some(keys) = iq.find("key") {
            let users: Vec<Jid> = keys.all("user").filter_map(|user| user.jid("jid")).collect();
            let answers: Vec<Node> = users.iter().map(|user| self.bundle_answer(user)).collect();
            return Ok(Some(Node::new("list").children(answers)));
        }
        if iq.find("list").is_some()
            && let Some((FaultKind::RefusePrekeys { code }, _)) =
                self.fault(&device.number, |kind| matches!(kind, FaultKind::RefusePrekeys { .. }))
        {
            return Err((u64::from(code), "refused"));
        }
        if iq.find("digest").is_some()
            && let Some((FaultKind::RefuseDigest { code }, _)) =
                self.fault(&device.number, |kind| matches!(kind, FaultKind::RefuseDigest { .. }))
        {
            return Err((u64::from(code), "refused"));
        }
        let Some(companion) = self.registry.companion_mut(device) else { return Err(NOT_FOUND) };
        if iq.find("count").is_some() {
            return Ok(Some(Node::new("count").attr("value", companion.keys.prekeys.len())));
        }
        if let Some(skey) = iq.find("skey").or_else(|| iq.find("rotate").and_then(|rotate| rotate.find("skey"))) {
            companion.keys.signed_prekey = Some(read_skey(skey).map_err(bad)?);
            if let Some(list) = iq.find("list") {
                let uploaded: VecDeque<_> = list.all("key").map(read_key).collect::<Result<_, _>>().map_err(bad)?;
                companion.keys.prekeys.extend(uploaded);
                companion.keys.prekeys.truncate(MAX_PREKEYS);
            }
            self.touch(|| Row::Companion(device.clone()));
            return Ok(None);
        }
        if iq.find("digest").is_some() {
            return companion.keys.digest().map(Some).ok_or(NOT_FOUND);
        }
        Err(BAD_REQUEST)
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
