//! Stanzas about groups: `<group>` and `w:gp2` notifications.

use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::state::World;
use crate::wire::{Jid, Node};
use std::collections::BTreeSet;

impl World {
    /// Every device of every member.
    pub(in crate::sandbox::world) fn devices_of_group(&self, id: &Jid) -> BTreeSet<DeviceId> {
        let members = self.groups.find(id).map(|group| group.members.keys());
        members.into_iter().flatten().flat_map(|number| self.registry.devices_of(number)).collect()
    }

    /// `<group>` with its metadata and members.
    pub(in crate::sandbox::world) fn group_node(&self, id: &Jid) -> Option<Node> {
        let group = self.groups.find(id)?;
        let lid = |number: &str| self.registry.account(number).map(|account| account.lid.clone());
        let members = group.members.iter().filter_map(|(number, role)| {
            let account = self.registry.account(number)?;
            let named = Node::new("participant").attr("jid", &account.lid).attr("phone_number", &account.pn);
            Some(named.maybe("type", role.attribute()))
        });
        let node = Node::new("group")
            .attr("id", id.user().to_owned())
            .attr("creation", group.created)
            .maybe("creator", lid(&group.creator))
            .maybe("creator_pn", self.registry.account(&group.creator).map(|account| account.pn.clone()))
            .attr("subject", group.subject.text.clone())
            .attr("s_t", group.subject.at)
            .maybe("s_o", lid(&group.subject.by))
            .attr("addressing_mode", "lid")
            .attr("size", group.members.len())
            .children(members);
        let switch = |on: bool, tag| on.then(|| Node::new(tag));
        let description = group.description.as_ref().map(|text| {
            let body = Node::new("body").bytes(text.text.clone().into_bytes());
            let node = Node::new("description").attr("id", text.id.clone()).attr("t", text.at);
            node.maybe("participant", lid(&text.by)).child(body)
        });
        let ephemeral = (group.ephemeral > 0).then(|| Node::new("ephemeral").attr("expiration", group.ephemeral));
        let more = [switch(group.announcement, "announcement"), switch(group.locked, "locked"), ephemeral, description];
        Some(node.children(more.into_iter().flatten()))
    }

    /// Notifies every device of the members and of those `gone` by this change.
    pub(in crate::sandbox::world) fn notify_group(
        &mut self,
        id: &Jid,
        by: &str,
        gone: &BTreeSet<String>,
        change: Node,
    ) {
        let Some(actor) = self.registry.account(by) else { return };
        let notification = Node::new("notification")
            .attr("from", id)
            .attr("type", "w:gp2")
            .attr("t", self.now.secs())
            .attr("participant", &actor.lid)
            .attr("participant_pn", &actor.pn)
            .attr("addressing_mode", "lid")
            .attr("notify", actor.name.clone())
            .child(change);
        let mut devices = self.devices_of_group(id);
        devices.extend(gone.iter().flat_map(|number| self.registry.devices_of(number)));
        for device in devices.into_iter().filter(|device| device.device != 0) {
            let notification = notification.clone().attr("id", self.new_stanza_id());
            self.deliver(&device, notification);
        }
    }
}
