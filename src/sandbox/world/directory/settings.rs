//! Settings of people: privacy, blocklist, about text, disappearing messages, picture (`sandbox-service.md` 4).

use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::refusal::{Answer, BAD_REQUEST, NOT_FOUND, Refusal};
use crate::sandbox::world::registry::settings::Settings;
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::wire::Node;

const CATEGORIES: [&str; 8] =
    ["last", "online", "profile", "status", "groupadd", "calladd", "readreceipts", "messages"];
const MAX_TEXT: usize = 1024;
const MAX_PICTURE: usize = 512 * 1024;

impl World {
    pub(in crate::sandbox::world) fn settings_mut(&mut self, number: &str) -> Result<&mut Settings, Refusal> {
        self.touch(|| Row::Account(number.to_owned()));
        self.registry.account_mut(number).map(|account| &mut account.settings).ok_or(NOT_FOUND)
    }

    fn settings(&self, number: &str) -> Result<&Settings, Refusal> {
        self.registry.account(number).map(|account| &account.settings).ok_or(NOT_FOUND)
    }

    pub(in crate::sandbox::world) fn privacy(&self, device: &DeviceId) -> Result<Node, Refusal> {
        let set = &self.settings(&device.number)?.privacy;
        let category = |name: &str| {
            let value = set.get(name).cloned().unwrap_or_else(|| "all".to_owned());
            Node::new("category").attr("name", name.to_owned()).attr("value", value)
        };
        Ok(Node::new("privacy").children(CATEGORIES.map(category)))
    }

    pub(in crate::sandbox::world) fn set_privacy(
        &mut self,
        device: &DeviceId,
        request: &Node,
    ) -> Result<Node, Refusal> {
        for category in request.all("category") {
            let name = category.text("name").filter(|name| CATEGORIES.contains(&name.as_ref())).ok_or(BAD_REQUEST)?;
            let value = category.text("value").filter(|value| value.len() <= 64).ok_or(BAD_REQUEST)?;
            let (name, value) = (name.into_owned(), value.into_owned());
            self.settings_mut(&device.number)?.privacy.insert(name, value);
        }
        self.privacy(device)
    }

    pub(in crate::sandbox::world) fn blocklist(&mut self, device: &DeviceId, iq: &Node) -> Result<Node, Refusal> {
        if let Some(item) = iq.find("item") {
            let jid = item.jid("jid").ok_or(BAD_REQUEST)?;
            let number = self.registry.number_of(&jid).ok_or(NOT_FOUND)?;
            let blocked = &mut self.settings_mut(&device.number)?.blocked;
            match item.text("action").as_deref() {
                Some("block") => blocked.insert(number),
                Some("unblock") => blocked.remove(&number),
                _ => return Err(BAD_REQUEST),
            };
        }
        let blocked = &self.settings(&device.number)?.blocked;
        let items = blocked.iter().filter_map(|number| self.registry.account(number));
        let items = items.map(|account| Node::new("item").attr("jid", &account.lid).attr("pn_jid", &account.pn));
        Ok(Node::new("list").attr("dhash", format!("sandbox-{}", blocked.len())).children(items.collect::<Vec<_>>()))
    }

    pub(in crate::sandbox::world) fn is_blocked(&self, by: &str, sender: &str) -> bool {
        self.registry.account(by).is_some_and(|account| account.settings.blocked.contains(sender))
    }

    pub(in crate::sandbox::world) fn set_about(&mut self, device: &DeviceId, iq: &Node) -> Result<(), Refusal> {
        let text = iq.find("status").map(Node::content_bytes).unwrap_or_default();
        let text = String::from_utf8(text.to_vec()).ok().filter(|text| text.len() <= MAX_TEXT).ok_or(BAD_REQUEST)?;
        let now = self.now.secs();
        self.settings_mut(&device.number)?.about = Some((text, now));
        Ok(())
    }

    pub(in crate::sandbox::world) fn set_disappearing(&mut self, device: &DeviceId, iq: &Node) -> Result<(), Refusal> {
        let seconds = iq.find("disappearing_mode").and_then(|mode| mode.number("duration")).ok_or(BAD_REQUEST)?;
        let now = self.now.secs();
        self.settings_mut(&device.number)?.disappearing = (seconds, now);
        Ok(())
    }

    pub(in crate::sandbox::world) fn picture(&mut self, device: &DeviceId, kind: &str, iq: &Node) -> Answer {
        let person = iq.jid("target").or_else(|| iq.jid("to")).filter(|jid| !jid.user().is_empty());
        if kind == "get" {
            let person = person.ok_or(BAD_REQUEST)?;
            let number = self.registry.number_of(&person).ok_or(NOT_FOUND)?;
            let (id, path) = self.settings(&number)?.picture.clone().ok_or(NOT_FOUND)?;
            let kind = iq.find("picture").and_then(|picture| picture.text("type")).unwrap_or_default().into_owned();
            let url = self.media.url(&path).ok_or(NOT_FOUND)?;
            return Ok(Some(Node::new("picture").attr("id", id).attr("type", kind).attr("url", url)));
        }
        let bytes = iq.find("picture").map(Node::content_bytes).unwrap_or_default().to_vec();
        if bytes.len() > MAX_PICTURE {
            return Err(BAD_REQUEST);
        }
        let id = (!bytes.is_empty()).then(|| self.new_stanza_id());
        let picture = match &id {
            Some(id) => Some((id.clone(), self.store_media(bytes).map_err(|_| (507, "insufficient-storage"))?)),
            None => None,
        };
        self.settings_mut(&device.number)?.picture = picture;
        self.announce_picture(&device.number, id.as_deref());
        Ok(id.map(|id| Node::new("picture").attr("id", id)))
    }

    fn announce_picture(&mut self, number: &str, id: Option<&str>) {
        let Some(account) = self.registry.account(number) else { return };
        let (lid, known) = (account.lid.clone(), account.acquaintances.clone());
        let change = match id {
            Some(id) => Node::new("set").attr("jid", &lid).attr("id", id.to_owned()),
            None => Node::new("delete").attr("jid", &lid),
        };
        for listener in known {
            let change = change.clone();
            self.notify(&listener, &lid, "picture", |it| it.child(change));
        }
    }
}
