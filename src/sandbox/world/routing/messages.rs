//! Routing of messages: to a person's devices, to a group's members, to the readers of a status (`sandbox-service.md` 5).

use crate::sandbox::world::ids::{ConnectionId, DeviceId};
use crate::sandbox::world::net::faults::FaultKind;
use crate::sandbox::world::state::World;
use crate::wire::phash::participant_hash;
use crate::wire::{Content, Jid, Node, Server};
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// Routes a message of a device, or applies a fault to it.
    pub(in crate::sandbox::world) fn accept_message(&mut self, id: ConnectionId, sender: &DeviceId, node: &Node) {
        use FaultKind::{Disconnect, Refuse, StreamError, Swallow};
        let at_sending = |kind| matches!(kind, Disconnect | Swallow | Refuse { .. } | StreamError { .. });
        match self.fault(&sender.number, at_sending) {
            Some((FaultKind::Disconnect, chance)) => {
                self.close(id);
                if chance % 2 == 1 {
                    self.route_message(sender, node);
                }
            }
            Some((FaultKind::Swallow, _)) => {}
            Some((FaultKind::Refuse { code }, _)) => self.acknowledge(sender, node, Some(u64::from(code)), None),
            Some((FaultKind::StreamError { code }, _)) => {
                self.send(id, &Node::new("stream:error").attr("code", u64::from(code)));
                self.leave(id);
            }
            _ => self.route_message(sender, node),
        }
    }

    /// Acknowledges a message, and delivers to each device its ciphertext.
    pub(in crate::sandbox::world) fn route_message(&mut self, sender: &DeviceId, node: &Node) {
        let Some(to) = node.jid("to") else { return };
        match to.server() {
            Server::Group => self.route_to_group(sender, node, &to),
            Server::Broadcast => self.route_status(sender, node, &to),
            _ => self.route_to_person(sender, node, &to),
        }
    }

    fn acknowledge(&mut self, sender: &DeviceId, node: &Node, error: Option<u64>, phash: Option<String>) {
        let ack = Node::new("ack")
            .attr("class", "message")
            .maybe("id", node.get("id").cloned())
            .maybe("from", node.get("to").cloned())
            .maybe("participant", node.get("participant").cloned())
            .maybe("addressing_mode", node.get("addressing_mode").cloned())
            .attr("t", self.now.secs())
            .maybe("error", error)
            .maybe("phash", phash);
        self.send_to_device(sender, &ack);
    }

    fn route_to_person(&mut self, sender: &DeviceId, node: &Node, to: &Jid) {
        let Some(recipient) = self.registry.number_of(to) else {
            return self.acknowledge(sender, node, Some(404), None);
        };
        if let Some(error) = self.stranger_error(sender, to, node) {
            return self.acknowledge(sender, node, Some(error), None);
        }
        let Some(participants) = node.find("participants") else {
            self.acknowledge(sender, node, None, None);
            let ciphertexts: Vec<Node> = node.all("enc").cloned().collect();
            return self.forward(sender, node, to, to, &ciphertexts);
        };
        let targets: Vec<(Jid, &[Node])> =
            participants.all("to").filter_map(|target| Some((target.jid("jid")?, target.nodes()))).collect();
        let phash = self.missed_devices(sender, &recipient, &targets);
        self.acknowledge(sender, node, None, phash);
        for (jid, ciphertexts) in targets {
            self.forward(sender, node, to, &jid, ciphertexts);
        }
    }

    /// The hash of the expected devices, when a message was addressed to others.
    fn missed_devices(&self, sender: &DeviceId, recipient: &str, targets: &[(Jid, &[Node])]) -> Option<String> {
        let like = &targets.first()?.0;
        let named = |device: DeviceId| {
            let account = self.registry.account(&device.number)?;
            Some(account.named_like(like).with_device(device.device))
        };
        let mut expected = self.registry.devices_of(recipient);
        expected.extend(self.registry.devices_of(&sender.number));
        expected.remove(sender);
        let expected: BTreeSet<Jid> = expected.into_iter().filter_map(named).collect();
        let sent: BTreeSet<Jid> = targets.iter().map(|(jid, _)| jid.clone()).collect();
        let own = named(sender.clone());
        let same = expected.iter().eq(sent.iter().filter(|jid| Some(*jid) != own.as_ref()));
        (!same).then(|| participant_hash(&expected))
    }

    fn forward(&mut self, sender: &DeviceId, node: &Node, to: &Jid, target: &Jid, ciphertexts: &[Node]) {
        let Some(number) = self.registry.number_of(target) else { return };
        let device = DeviceId { number, device: target.device() };
        if device == *sender || self.is_blocked(&device.number, &sender.number) {
            return;
        }
        let Some(account) = self.registry.account(&sender.number) else { return };
        let from = account.named_like(target).with_device(sender.device);
        let by_lid = from.server() == Server::Lid;
        let (lid, pn) = (account.lid.with_device(sender.device), account.pn.with_device(sender.device));
        let own = device.number == sender.number;
        let peer = node.is("category", "peer");
        let mut message = self
            .relayed(node, from)
            .attr("notify", account.name.clone())
            .maybe("sender_pn", by_lid.then_some(pn))
            .maybe("sender_lid", (!by_lid).then_some(lid));
        if own && !peer {
            // A resent message names only the device: its chat is in `recipient`.
            let chat = node.jid("recipient").unwrap_or_else(|| to.bare());
            let other = self.registry.number_of(&chat).and_then(|number| self.registry.account(&number));
            message = match (other, chat.server()) {
                (Some(other), Server::Lid) => message.attr("peer_recipient_pn", &other.pn),
                (Some(other), _) => message.attr("peer_recipient_lid", &other.lid),
                (None, _) => message,
            };
            message = message.attr("recipient", chat);
        }
        let message = with_content(message, node, ciphertexts.iter().cloned());
        self.deliver(&device, message);
    }

    /// The stanza of a routed message, without its content.
    fn relayed(&self, node: &Node, from: Jid) -> Node {
        Node::new("message")
            .attr("from", from)
            .maybe("id", node.get("id").cloned())
            .attr("t", self.now.secs())
            .maybe("type", node.get("type").cloned())
            .maybe("category", node.get("category").cloned())
            .maybe("edit", node.get("edit").cloned())
    }

    fn route_to_group(&mut self, sender: &DeviceId, node: &Node, group: &Jid) {
        let error = match self.groups.find(group) {
            None => Some(404),
            Some(group) => (!group.may_send(&sender.number)).then_some(403),
        };
        if error.is_some() {
            return self.acknowledge(sender, node, error, None);
        }
        let devices = self.devices_of_group(group);
        let phash = node.text("phash").and_then(|claimed| {
            let named: Vec<Jid> = devices.iter().filter_map(|device| self.registry.lid_of(device)).collect();
            let expected = participant_hash(&named);
            (expected != claimed).then_some(expected)
        });
        self.acknowledge(sender, node, None, phash);
        let only = node.jid("participant").and_then(|one| Some((self.registry.number_of(&one)?, one.device())));
        match only {
            // Resent to one device, encrypted in its session.
            Some((number, device)) => {
                if self.groups.find(group).is_some_and(|group| group.members.contains_key(&number)) {
                    let encs: Vec<Node> = node.all("enc").cloned().collect();
                    self.forward_shared(sender, node, group, &DeviceId { number, device }, &encs);
                }
            }
            None => self.forward_to_all(sender, node, group, devices),
        }
    }

    /// Routes a status to the listed people or devices.
    fn route_status(&mut self, sender: &DeviceId, node: &Node, to: &Jid) {
        self.acknowledge(sender, node, None, None);
        if let Some((number, device)) =
            node.jid("participant").and_then(|one| Some((self.registry.number_of(&one)?, one.device())))
        {
            let encs: Vec<Node> = node.all("enc").cloned().collect();
            return self.forward_shared(sender, node, to, &DeviceId { number, device }, &encs);
        }
        let listed = node.find("participants").map(Node::nodes).unwrap_or_default();
        let listed = listed.iter().filter_map(|target| self.registry.number_of(&target.jid("jid")?));
        let mut people: BTreeSet<String> = listed.collect();
        people.insert(sender.number.clone());
        let devices = people.iter().flat_map(|number| self.registry.devices_of(number)).collect();
        self.forward_to_all(sender, node, to, devices);
    }

    /// Delivers to every device its own ciphertext, followed by the common one.
    fn forward_to_all(&mut self, sender: &DeviceId, node: &Node, to: &Jid, devices: BTreeSet<DeviceId>) {
        let mut own: BTreeMap<DeviceId, Vec<Node>> = BTreeMap::new();
        for target in node.find("participants").map(Node::nodes).unwrap_or_default() {
            let Some(jid) = target.jid("jid") else { continue };
            if let Some(number) = self.registry.number_of(&jid) {
                let encs = target.all("enc").cloned();
                own.entry(DeviceId { number, device: jid.device() }).or_default().extend(encs);
            }
        }
        let common: Vec<Node> = node.all("enc").cloned().collect();
        for device in devices {
            let mut encs = own.remove(&device).unwrap_or_default();
            encs.extend(common.iter().cloned());
            if !encs.is_empty() {
                self.forward_shared(sender, node, to, &device, &encs);
            }
        }
    }

    fn forward_shared(&mut self, sender: &DeviceId, node: &Node, to: &Jid, device: &DeviceId, encs: &[Node]) {
        let Some(account) = self.registry.account(&sender.number).filter(|_| device != sender) else { return };
        let message = self
            .relayed(node, to.clone())
            .attr("participant", account.lid.with_device(sender.device))
            .attr("participant_pn", account.pn.with_device(sender.device))
            .maybe("addressing_mode", (to.server() == Server::Group).then_some("lid"))
            .attr("notify", account.name.clone());
        let message = with_content(message, node, encs.iter().cloned());
        self.deliver(device, message);
    }
}

/// Adds the ciphertexts, the sender's identity for new sessions, and the children that readers need.
fn with_content(message: Node, node: &Node, ciphertexts: impl Iterator<Item = Node>) -> Node {
    let message = message.children(ciphertexts);
    let begins = message.all("enc").any(|enc| enc.is("type", "pkmsg"));
    let identity = node.find("device-identity").filter(|_| begins);
    let extra = node.nodes().iter().filter(|child| matches!(child.tag.as_ref(), "meta" | "tctoken" | "reporting"));
    message.children(identity.into_iter().chain(extra).cloned())
}

/// The `<enc>` children with their ciphertexts.
pub(in crate::sandbox::world) fn ciphertexts(node: &Node) -> impl Iterator<Item = (&Node, &[u8])> {
    node.all("enc").filter_map(|enc| match &enc.content {
        Content::Bytes(bytes) => Some((enc, bytes.as_slice())),
        _ => None,
    })
}
