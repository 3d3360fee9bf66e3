//! Presence and chat states (`sandbox-service.md` 5.4). They are never queued.

use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::wire::{Jid, Node, Server};

impl World {
    pub(in crate::sandbox::world) fn handle_presence(&mut self, device: &DeviceId, node: &Node) {
        if let Some(name) = node.text("name").filter(|name| !name.is_empty()).map(|name| name.into_owned()) {
            self.rename(&device.number, name);
        }
        match node.text("type").as_deref() {
            Some("subscribe") => {
                let Some(to) = node.jid("to") else { return };
                let Some(number) = self.registry.number_of(&to) else { return };
                if let Some(account) = self.registry.account_mut(&number) {
                    account.watchers.insert((device.clone(), to.bare()));
                }
                if let Some(companion) = self.registry.companion_mut(device) {
                    companion.watching.insert(number.clone());
                }
                let presence = self.presence_of(&number, &to.bare());
                self.send_if_caught_up(device, &presence);
            }
            Some(kind @ ("available" | "unavailable")) => {
                let available = kind == "available";
                if let Some(companion) = self.registry.companion_mut(device) {
                    companion.available = available;
                }
                self.announce_presence(&device.number);
            }
            _ => {}
        }
    }

    fn rename(&mut self, number: &str, name: String) {
        if let Some(account) = self.registry.account_mut(number).filter(|account| account.name != name) {
            account.name = name;
            self.touch(|| Row::Account(number.to_owned()));
        }
    }

    /// A person is available while one of the linked devices is.
    fn presence_of(&self, number: &str, named: &Jid) -> Node {
        let account = self.registry.account(number);
        let online = account.is_some_and(|account| account.companions.values().any(|companion| companion.available));
        let presence = Node::new("presence").attr("from", named);
        match online {
            true => presence,
            false => presence.attr("type", "unavailable").attr("last", self.now.secs()),
        }
    }

    pub(in crate::sandbox::world) fn announce_presence(&mut self, number: &str) {
        let Some(account) = self.registry.account(number) else { return };
        for (watcher, named) in account.watchers.clone() {
            let presence = self.presence_of(number, &named);
            self.send_if_caught_up(&watcher, &presence);
        }
    }

    pub(in crate::sandbox::world) fn route_chat_state(&mut self, device: &DeviceId, node: &Node) {
        let (Some(to), Some(account)) = (node.jid("to"), self.registry.account(&device.number)) else { return };
        let state = Node { tag: "chatstate".into(), attrs: Vec::new(), content: node.content.clone() };
        let (targets, state) = match to.server() {
            Server::Group => (self.devices_of_group(&to), state.attr("from", &to).attr("participant", &account.lid)),
            _ => {
                let Some(number) = self.registry.number_of(&to) else { return };
                (self.registry.devices_of(&number), state.attr("from", account.named_like(&to)))
            }
        };
        for target in targets.into_iter().filter(|target| target.number != device.number) {
            self.send_if_caught_up(&target, &state);
        }
    }
}
