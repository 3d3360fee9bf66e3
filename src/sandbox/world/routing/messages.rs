//! Messages on their way: to a person's devices, to a group's, to those who see a status (`sandbox-service.md` 5).

use crate::sandbox::world::{ConnectionId, DeviceId, FaultKind, Output, World};
use crate::wire::phash::participant_hash;
use crate::wire::{Content, Jid, Node, Server};
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// Takes a message of a device, unless something is to go wrong with it.
    pub(in crate::sandbox::world) fn take_message(&mut self, id: ConnectionId, sender: &DeviceId, node: &Node) {
        use FaultKind::{Disconnect, Refuse, StreamError, Swallow};
        let at_sending = |kind| matches!(kind, Disconnect | Swallow | Refuse { .. } | StreamError { .. });
        match self.fault(&sender.number, at_sending) {
            Some((FaultKind::Disconnect, chance)) => {
                self.output.push_back(Output::Close(id));
                self.closed(id);
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

    /// Acknowledges a message and hands each device its own ciphertext.
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
        self.answer_device(sender, ack);
    }

    fn route_to_person(&mut self, sender: &DeviceId, node: &Node, to: &Jid) {
        let Some(recipient) = self.number_of(to) else {
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
        let phash = self.missed(sender, &recipient, &targets);
        self.acknowledge(sender, node, None, phash);
        for (jid, ciphertexts) in targets {
            self.forward(sender, node, to, &jid, ciphertexts);
        }
    }

    /// The hash of the devices that a message should have gone to, when it went to others.
    fn missed(&self, sender: &DeviceId, recipient: &str, targets: &[(Jid, &[Node])]) -> Option<String> {
        let like = &targets.first()?.0;
        let named = |device: DeviceId| {
            let account = self.accounts.get(&device.number)?;
            Some(account.named_like(like).with_device(device.device))
        };
        let mut expected = self.devices_of(recipient);
        expected.extend(self.devices_of(&sender.number));
        expected.remove(sender);
        let expected: BTreeSet<Jid> = expected.into_iter().filter_map(named).collect();
        let sent: BTreeSet<Jid> = targets.iter().map(|(jid, _)| jid.clone()).collect();
        let own = named(sender.clone());
        let same = expected.iter().eq(sent.iter().filter(|jid| Some(*jid) != own.as_ref()));
        (!same).then(|| participant_hash(&expected))
    }

    fn forward(&mut self, sender: &DeviceId, node: &Node, to: &Jid, target: &Jid, ciphertexts: &[Node]) {
        let Some(number) = self.number_of(target) else { return };
        let device = DeviceId { number, device: target.device() };
        if device == *sender || self.is_blocked(&device.number, &sender.number) {
            return;
        }
        let Some(account) = self.accounts.get(&sender.number) else { return };
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
            // A message that is sent again names only the device: its chat is in `recipient`.
            let chat = node.jid("recipient").unwrap_or_else(|| to.bare());
            let other = self.number_of(&chat).and_then(|number| self.accounts.get(&number));
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

    /// The stanza of a message as its reader gets it, before its content.
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
        let members = self.group_members(group);
        let Some(members) = members.filter(|members| members.contains(&sender.number)) else {
            let unknown = !self.groups.contains_key(group);
            return self.acknowledge(sender, node, Some(if unknown { 404 } else { 403 }), None);
        };
        let silent = self.groups.get(group).is_some_and(|group| group.announcement);
        let may_write = self.groups.get(group).is_some_and(|group| {
            group
                .members
                .get(&sender.number)
                .is_some_and(|role| *role != crate::sandbox::world::groups::membership::MemberRole::Member)
        });
        if silent && !may_write {
            return self.acknowledge(sender, node, Some(403), None);
        }
        let devices = self.devices_of_group(group);
        let phash = node.text("phash").and_then(|claimed| {
            let named: Vec<Jid> = devices.iter().filter_map(|device| self.lid_of(device)).collect();
            let expected = participant_hash(&named);
            (expected != claimed).then_some(expected)
        });
        self.acknowledge(sender, node, None, phash);
        let only = node.jid("participant").and_then(|one| Some((self.number_of(&one)?, one.device())));
        match only {
            // Sent again to one device, in its own session.
            Some((number, device)) if members.contains(&number) => {
                let encs: Vec<Node> = node.all("enc").cloned().collect();
                self.forward_shared(sender, node, group, &DeviceId { number, device }, &encs);
            }
            Some(_) => {}
            None => self.forward_to_all(sender, node, group, devices),
        }
    }

    /// A status goes to those that the sender lists, each as a person or as a device.
    fn route_status(&mut self, sender: &DeviceId, node: &Node, to: &Jid) {
        self.acknowledge(sender, node, None, None);
        if let Some((number, device)) =
            node.jid("participant").and_then(|one| Some((self.number_of(&one)?, one.device())))
        {
            let encs: Vec<Node> = node.all("enc").cloned().collect();
            return self.forward_shared(sender, node, to, &DeviceId { number, device }, &encs);
        }
        let listed = node.find("participants").map(Node::nodes).unwrap_or_default();
        let listed = listed.iter().filter_map(|target| self.number_of(&target.jid("jid")?));
        let mut people: BTreeSet<String> = listed.collect();
        people.insert(sender.number.clone());
        let devices = people.iter().flat_map(|number| self.devices_of(number)).collect();
        self.forward_to_all(sender, node, to, devices);
    }

    /// The common ciphertext to every device, behind the one that is its own.
    fn forward_to_all(&mut self, sender: &DeviceId, node: &Node, to: &Jid, devices: BTreeSet<DeviceId>) {
        let mut own: BTreeMap<DeviceId, Vec<Node>> = BTreeMap::new();
        for target in node.find("participants").map(Node::nodes).unwrap_or_default() {
            let Some(jid) = target.jid("jid") else { continue };
            if let Some(number) = self.number_of(&jid) {
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
        let Some(account) = self.accounts.get(&sender.number).filter(|_| device != sender) else { return };
        let message = self
            .relayed(node, to.clone())
            .attr("participant", account.lid.with_device(sender.device))
            .attr("participant_pn", account.pn.with_device(sender.device))
            .maybe("addressing_mode", (to.server() == Server::Group).then_some("lid"))
            .attr("notify", account.name.clone());
        let message = with_content(message, node, encs.iter().cloned());
        self.deliver(device, message);
    }

    /// Answers on the device's own connection; phones need no answer.
    pub(in crate::sandbox::world) fn answer_device(&mut self, device: &DeviceId, node: Node) {
        if let Some(connection) = self.companion_mut(device).and_then(|companion| companion.connection) {
            self.send(connection, &node);
        }
    }
}

/// Ciphertexts, the sender's identity where a session begins, and what else readers need.
fn with_content(message: Node, node: &Node, ciphertexts: impl Iterator<Item = Node>) -> Node {
    let message = message.children(ciphertexts);
    let begins = message.all("enc").any(|enc| enc.is("type", "pkmsg"));
    let identity = node.find("device-identity").filter(|_| begins);
    let extra = node.nodes().iter().filter(|child| matches!(child.tag.as_ref(), "meta" | "tctoken" | "reporting"));
    message.children(identity.into_iter().chain(extra).cloned())
}

/// Every byte string under the node's `<enc>` children.
pub(in crate::sandbox::world) fn ciphertexts(node: &Node) -> impl Iterator<Item = (&Node, &[u8])> {
    node.all("enc").filter_map(|enc| match &enc.content {
        Content::Bytes(bytes) => Some((enc, bytes.as_slice())),
        _ => None,
    })
}
