//! Messages and receipts on their way (`sandbox-service.md` 5).

use super::{Action, ConnectionId, DeviceId, FaultKind, Output, RECEIPT_DELAY, World};
use crate::wire::{Content, Jid, Node};

impl World {
    /// Takes a message of a device, unless something is to go wrong with it.
    pub(super) fn take_message(&mut self, id: ConnectionId, sender: &DeviceId, node: &Node) {
        let at_sending =
            |kind| matches!(kind, FaultKind::Disconnect | FaultKind::Refuse { .. } | FaultKind::StreamError { .. });
        match self.fault(&sender.number, at_sending) {
            Some((FaultKind::Disconnect, chance)) => {
                self.output.push_back(Output::Close(id));
                self.closed(id);
                if chance % 2 == 1 {
                    self.route_message(sender, node);
                }
            }
            Some((FaultKind::Refuse { code }, _)) => {
                let ack = Node::new("ack").attr("class", "message").maybe("id", node.get("id").cloned());
                let ack = ack.maybe("from", node.get("to").cloned()).attr("t", self.now.secs());
                self.answer_device(sender, ack.attr("error", u64::from(code)));
            }
            Some((FaultKind::StreamError { code }, _)) => {
                self.send(id, &Node::new("stream:error").attr("code", u64::from(code)));
                self.leave(id);
            }
            _ => self.route_message(sender, node),
        }
    }

    /// Acknowledges a message and hands each device its own ciphertext.
    pub(super) fn route_message(&mut self, sender: &DeviceId, node: &Node) {
        let Some(to) = node.jid("to") else { return };
        let known = self.number_of(&to);
        let ack = Node::new("ack")
            .attr("class", "message")
            .maybe("id", node.get("id").cloned())
            .attr("from", &to)
            .attr("t", self.now.secs());
        let ack = if known.is_some() { ack } else { ack.attr("error", "404") };
        self.answer_device(sender, ack);
        if known.is_none() {
            return;
        }
        match node.find("participants") {
            Some(participants) => {
                for target in participants.all("to") {
                    if let Some(jid) = target.jid("jid") {
                        self.forward(sender, node, &to, &jid, target.nodes());
                    }
                }
            }
            None => {
                let ciphertexts: Vec<Node> = node.all("enc").cloned().collect();
                self.forward(sender, node, &to, &to, &ciphertexts);
            }
        }
    }

    fn forward(&mut self, sender: &DeviceId, node: &Node, to: &Jid, target: &Jid, ciphertexts: &[Node]) {
        let Some(number) = self.number_of(target) else { return };
        let device = DeviceId { number, device: target.device() };
        if device == *sender {
            return;
        }
        let Some(account) = self.accounts.get(&sender.number) else { return };
        let from = account.named_like(target).with_device(sender.device);
        let by_lid = from.server() == crate::wire::Server::Lid;
        let (lid, pn) = (account.lid.with_device(sender.device), account.pn.with_device(sender.device));
        let own = device.number == sender.number;
        let peer = node.is("category", "peer");
        let mut message = Node::new("message")
            .attr("from", from)
            .maybe("id", node.get("id").cloned())
            .attr("t", self.now.secs())
            .maybe("type", node.get("type").cloned())
            .maybe("category", node.get("category").cloned())
            .maybe("edit", node.get("edit").cloned())
            .attr("notify", account.name.clone())
            .maybe("sender_pn", by_lid.then_some(pn))
            .maybe("sender_lid", (!by_lid).then_some(lid));
        if own && !peer {
            message = message.attr("recipient", to);
            if let Some(other) = self.number_of(to).and_then(|number| self.accounts.get(&number)) {
                message = match to.server() {
                    crate::wire::Server::Lid => message.attr("peer_recipient_pn", &other.pn),
                    _ => message.attr("peer_recipient_lid", &other.lid),
                };
            }
        }
        message = message.children(ciphertexts.iter().cloned());
        if ciphertexts.iter().any(|enc| enc.is("type", "pkmsg")) {
            message = message.children(node.find("device-identity").cloned());
        }
        let extra = node.nodes().iter().filter(|child| matches!(child.tag.as_ref(), "meta" | "tctoken"));
        let message = message.children(extra.cloned());
        self.deliver(&device, message);
    }

    /// Acknowledges a receipt and passes it to the devices it is for.
    pub(super) fn route_receipt(&mut self, reader: &DeviceId, node: &Node) {
        self.acknowledged(reader, node);
        let Some(to) = node.jid("to") else { return };
        let ack = Node::new("ack")
            .attr("class", "receipt")
            .maybe("id", node.get("id").cloned())
            .attr("from", &to)
            .maybe("type", node.get("type").cloned())
            .attr("t", self.now.secs());
        self.answer_device(reader, ack);
        let (Some(number), Some(account)) = (self.number_of(&to), self.accounts.get(&reader.number)) else { return };
        let from = account.named_like(&to).with_device(reader.device);
        let receipt = Node { tag: "receipt".into(), attrs: Vec::new(), content: node.content.clone() }
            .maybe("id", node.get("id").cloned())
            .attr("from", from)
            .maybe("type", node.get("type").cloned())
            .maybe("recipient", node.get("recipient").cloned())
            .attr("t", self.now.secs());
        let only_that_device = node.is("type", "retry") || number == reader.number;
        let targets: Vec<DeviceId> = match only_that_device {
            true => vec![DeviceId { number, device: to.device() }],
            false => self.devices_of(&number).into_iter().collect(),
        };
        for target in targets.into_iter().filter(|target| target != reader) {
            self.after(RECEIPT_DELAY, Action::Deliver(target, Box::new(receipt.clone())));
        }
    }

    /// Answers on the device's own connection; phones need no answer.
    fn answer_device(&mut self, device: &DeviceId, node: Node) {
        if let Some(connection) = self.companion_mut(device).and_then(|companion| companion.connection) {
            self.send(connection, &node);
        }
    }
}

/// Every byte string under the node's `<enc>` children.
pub(super) fn ciphertexts(node: &Node) -> impl Iterator<Item = (&Node, &[u8])> {
    node.all("enc").filter_map(|enc| match &enc.content {
        Content::Bytes(bytes) => Some((enc, bytes.as_slice())),
        _ => None,
    })
}
