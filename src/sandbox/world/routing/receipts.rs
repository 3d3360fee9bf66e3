//! Routing of receipts; receipts and acknowledgements also remove stanzas from a device's queue (`sandbox-service.md` 5.2).

use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::net::schedule::{Action, RECEIPT_DELAY};
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::wire::{Jid, Node, Server};

impl World {
    /// A device has acknowledged a stanza: it is not redelivered.
    pub(in crate::sandbox::world) fn handle_ack(&mut self, device: &DeviceId, ack: &Node) {
        let (Some(id), Some(class)) = (ack.text("id"), ack.text("class")) else { return };
        // Receipts carry the id of their message: sender and type tell them apart.
        let is_meant = |node: &Node| {
            let is_same = ["participant", "type"].iter().all(|key| node.text(key) == ack.text(key));
            class != "receipt" || (is_same && node.jid("from") == ack.jid("to"))
        };
        self.dequeue(device, &class, &id, is_meant);
    }

    fn dequeue(&mut self, device: &DeviceId, tag: &str, id: &str, is_meant: impl Fn(&Node) -> bool) {
        let Some(companion) = self.registry.companion_mut(device) else { return };
        let found = |node: &Node| node.tag == tag && node.is("id", id) && is_meant(node);
        let Some(at) = companion.delivery.queue.iter().position(|queued| found(&queued.node)) else { return };
        let Some(taken) = companion.delivery.queue.remove(at) else { return };
        let ended = companion
            .delivery
            .backlog
            .as_mut()
            .is_some_and(|backlog| backlog.left.remove(&taken.sequence) && backlog.left.is_empty());
        self.touch(|| Row::Queue(device.clone(), taken.sequence));
        if ended {
            self.end_backlog(device);
        }
    }

    /// Acknowledges a receipt, and delivers it to its target devices.
    pub(in crate::sandbox::world) fn route_receipt(&mut self, reader: &DeviceId, node: &Node) {
        let kind = node.text("type").map(|kind| kind.into_owned());
        let kind = kind.as_deref();
        if kind != Some("retry") {
            let more = node.find("list").map(Node::nodes).unwrap_or_default();
            for id in std::iter::once(node).chain(more).filter_map(|item| item.text("id")) {
                self.dequeue(reader, "message", &id, |_| true);
            }
        }
        let Some(to) = node.jid("to") else { return };
        let ack = Node::new("ack")
            .attr("class", "receipt")
            .maybe("id", node.get("id").cloned())
            .attr("from", &to)
            .maybe("participant", node.get("participant").cloned())
            .maybe("type", kind.map(str::to_owned))
            .attr("t", self.now.secs());
        self.send_to_device(reader, &ack);
        let shared = matches!(to.server(), Server::Group | Server::Broadcast);
        let author = if shared { node.jid("participant") } else { Some(to.clone()) };
        let Some((author, number)) =
            author.and_then(|author| Some((author.clone(), self.registry.number_of(&author)?)))
        else {
            return;
        };
        let Some(account) = self.registry.account(&reader.number) else { return };
        let me = account.named_like(&author).with_device(reader.device);
        let receipt = Node { tag: "receipt".into(), attrs: Vec::new(), content: node.content.clone() }
            .maybe("id", node.get("id").cloned())
            // An inactive reader reports delivery only.
            .maybe("type", kind.filter(|kind| *kind != "inactive").map(str::to_owned))
            .attr("t", self.now.secs());
        let receipt = match shared {
            true => receipt.attr("from", &to).attr("participant", me),
            false => receipt
                .attr("from", me)
                .maybe("recipient", node.get("recipient").cloned())
                .maybe("sender_lid", (author.server() != Server::Lid).then_some(&account.lid))
                .maybe("sender_pn", (author.server() == Server::Lid).then_some(&account.pn)),
        };
        for target in self.receipt_targets(reader, kind, &author, number) {
            self.after(RECEIPT_DELAY, Action::Deliver(target, Box::new(receipt.clone())));
        }
    }

    fn receipt_targets(&self, reader: &DeviceId, kind: Option<&str>, author: &Jid, number: String) -> Vec<DeviceId> {
        let mut targets: Vec<DeviceId> = match kind {
            // A read that is not disclosed is synced to the reader's own devices only.
            Some("read-self" | "played-self") => self.registry.devices_of(&reader.number).into_iter().collect(),
            Some("retry") => vec![DeviceId { number, device: author.device() }],
            _ if number == reader.number => vec![DeviceId { number, device: author.device() }],
            _ => self.registry.devices_of(&number).into_iter().collect(),
        };
        targets.retain(|target| target != reader);
        targets
    }
}
