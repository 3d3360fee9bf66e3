//! Delivery to a device: queued until acknowledged, sent at once, or handled by a fault.

use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::net::faults::FaultKind;
use crate::sandbox::world::net::schedule::Action;
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::wire::{Content, Jid, Node};
use std::time::Duration;

/// A reordered stanza is sent after the next one, but not later than this.
const REORDERED_BY: Duration = Duration::from_secs(2);

impl World {
    /// Delivers a stanza: to the phone itself, or to a companion that acknowledges it.
    pub(in crate::sandbox::world) fn deliver(&mut self, device: &DeviceId, node: Node) {
        if device.device == 0 {
            self.phone_receives(&device.number, &node);
        } else {
            self.deliver_with_faults(device, node);
        }
    }

    fn deliver_with_faults(&mut self, device: &DeviceId, mut node: Node) {
        if node.find("enc").is_some()
            && let Some((_, chance)) = self.fault(&device.number, |kind| kind == FaultKind::Corrupt)
        {
            corrupt(&mut node, chance);
        }
        let on_its_way = |kind| {
            matches!(kind, FaultKind::Drop | FaultKind::Delay { .. } | FaultKind::Duplicate | FaultKind::Reorder)
        };
        match self.fault(&device.number, on_its_way) {
            Some((FaultKind::Drop, _)) => self.enqueue(device, node),
            Some((FaultKind::Delay { ms }, chance)) => {
                let wait = Duration::from_millis(chance % ms.saturating_add(1));
                self.after(wait, Action::DeliverNow(device.clone(), Box::new(node)));
            }
            Some((FaultKind::Duplicate, _)) => {
                self.deliver_now(device, node.clone());
                self.send_if_caught_up(device, &node);
            }
            Some((FaultKind::Reorder, _)) => {
                self.faults.hold(device.clone(), node);
                self.after(REORDERED_BY, Action::Release(device.clone()));
            }
            _ => {
                self.deliver_now(device, node);
                self.release(device);
            }
        }
    }

    /// Sends the reordered stanzas of a device.
    pub(in crate::sandbox::world) fn release(&mut self, device: &DeviceId) {
        for node in self.faults.release(device) {
            self.deliver_now(device, node);
        }
    }

    pub(in crate::sandbox::world) fn deliver_now(&mut self, device: &DeviceId, node: Node) {
        self.enqueue(device, node.clone());
        self.send_if_caught_up(device, &node);
    }

    fn enqueue(&mut self, device: &DeviceId, node: Node) {
        if let Some(sequence) = self.registry.enqueue(device, node) {
            self.touch(|| Row::Queue(device.clone(), sequence));
        }
    }

    /// Sends to a connected device whose backlog has been sent.
    pub(in crate::sandbox::world) fn send_if_caught_up(&mut self, device: &DeviceId, node: &Node) {
        if self.registry.companion(device).is_some_and(|companion| companion.delivery.caught_up) {
            self.send_to_device(device, node);
        }
    }

    /// Delivers a `<notification>`; `content` adds to it.
    pub(in crate::sandbox::world) fn notify(
        &mut self,
        device: &DeviceId,
        from: &Jid,
        kind: &'static str,
        content: impl FnOnce(Node) -> Node,
    ) {
        let notification = self.notification(from, kind);
        self.deliver(device, content(notification));
    }

    /// `<notification>` without its content.
    pub(in crate::sandbox::world) fn notification(&mut self, from: &Jid, kind: &'static str) -> Node {
        Node::new("notification")
            .attr("from", from)
            .attr("type", kind)
            .attr("id", self.new_stanza_id())
            .attr("t", self.now.secs())
    }
}

/// Flips a bit of the last ciphertext.
fn corrupt(node: &mut Node, chance: u64) {
    let Content::Nodes(children) = &mut node.content else { return };
    let Some(enc) = children.iter_mut().rfind(|child| child.tag == "enc") else { return };
    if let Content::Bytes(bytes) = &mut enc.content
        && let Some(at) = usize::try_from(chance).ok().and_then(|chance| chance.checked_rem(bytes.len()))
    {
        bytes[at] ^= 1 << (chance >> 61);
    }
}
