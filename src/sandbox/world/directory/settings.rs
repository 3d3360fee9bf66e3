//! What people set about themselves: privacy, whom they block, status, picture (`sandbox-service.md` 4).

use crate::sandbox::world::groups::membership::{BAD_REQUEST, NOT_FOUND, Refusal};
use crate::sandbox::world::linking::passkey::Passkey;
use crate::sandbox::world::persistence::rows::Row;
use crate::sandbox::world::{DeviceId, World};
use crate::wire::{Jid, Node};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const CATEGORIES: [&str; 8] =
    ["last", "online", "profile", "status", "groupadd", "calladd", "readreceipts", "messages"];
const MAX_TEXT: usize = 1024;
const MAX_PICTURE: usize = 512 * 1024;

/// What a person has set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::sandbox::world) struct Settings {
    /// Only what differs from `all`.
    pub(in crate::sandbox::world) privacy: BTreeMap<String, String>,
    /// By phone number.
    pub(in crate::sandbox::world) blocked: BTreeSet<String>,
    pub(in crate::sandbox::world) about: Option<(String, u64)>,
    /// Its id.
    pub(in crate::sandbox::world) picture: Option<(String, String)>,
    /// Seconds after which new chats' messages disappear, and when that was set.
    pub(in crate::sandbox::world) disappearing: (u64, u64),
    /// Whether strangers are refused (`tokens`).
    #[serde(default)]
    pub(in crate::sandbox::world) token_required: bool,
    #[serde(default)]
    pub(in crate::sandbox::world) passkey: Passkey,
    /// The tokens that were given out, in hex, by the phone number of who was given it.
    #[serde(default)]
    pub(in crate::sandbox::world) tokens: BTreeMap<String, String>,
}

impl World {
    pub(in crate::sandbox::world) fn settings_mut(&mut self, number: &str) -> Result<&mut Settings, Refusal> {
        self.touch(|| Row::Account(number.to_owned()));
        self.accounts.get_mut(number).map(|account| &mut account.settings).ok_or(NOT_FOUND)
    }

    fn settings(&self, number: &str) -> Result<&Settings, Refusal> {
        self.accounts.get(number).map(|account| &account.settings).ok_or(NOT_FOUND)
    }

    pub(in crate::sandbox::world) fn privacy(&self, device: &DeviceId) -> Result<Node, Refusal> {
        let set = &self.settings(&device.number)?.privacy;
        let category = |name: &str| {
            let value = set.get(name).cloned().unwrap_or_else(|| "all".to_owned());
            Node::new("category").attr("name", name.to_owned()).attr("value", value)
        };
        Ok(Node::new("privacy").children(CATEGORIES.map(category)))
    }

    pub(in crate::sandbox::world) fn set_privacy(&mut self, device: &DeviceId, asked: &Node) -> Result<Node, Refusal> {
        for category in asked.all("category") {
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
            let number = self.number_of(&jid).ok_or(NOT_FOUND)?;
            let blocked = &mut self.settings_mut(&device.number)?.blocked;
            match item.text("action").as_deref() {
                Some("block") => blocked.insert(number),
                Some("unblock") => blocked.remove(&number),
                _ => return Err(BAD_REQUEST),
            };
        }
        let blocked = &self.settings(&device.number)?.blocked;
        let items = blocked.iter().filter_map(|number| self.accounts.get(number));
        let items = items.map(|account| Node::new("item").attr("jid", &account.lid).attr("pn_jid", &account.pn));
        Ok(Node::new("list").attr("dhash", format!("sandbox-{}", blocked.len())).children(items.collect::<Vec<_>>()))
    }

    pub(in crate::sandbox::world) fn is_blocked(&self, by: &str, sender: &str) -> bool {
        self.accounts.get(by).is_some_and(|account| account.settings.blocked.contains(sender))
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

    pub(in crate::sandbox::world) fn picture(
        &mut self,
        device: &DeviceId,
        kind: &str,
        iq: &Node,
    ) -> Result<Option<Node>, Refusal> {
        let asked = iq.jid("target").or_else(|| iq.jid("to")).filter(|jid| !jid.user().is_empty());
        if kind == "get" {
            let asked = asked.ok_or(BAD_REQUEST)?;
            let number = self.number_of(&asked).ok_or(NOT_FOUND)?;
            let (id, path) = self.settings(&number)?.picture.clone().ok_or(NOT_FOUND)?;
            let host = self.media_host.clone().ok_or(NOT_FOUND)?;
            let kind = iq.find("picture").and_then(|picture| picture.text("type")).unwrap_or_default().into_owned();
            let url = format!("https://{host}{path}");
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
        let Some(account) = self.accounts.get(number) else { return };
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

/// Where a person asks about another: by JID, or by phone number as text.
pub(in crate::sandbox::world) fn asked_user(asked: &Node) -> (Option<Jid>, Option<String>) {
    let phone = asked.find("contact").map(|contact| String::from_utf8_lossy(contact.content_bytes()).into_owned());
    let by_phone = phone.as_deref().filter(|phone| !phone.is_empty());
    let by_phone = by_phone.map(|phone| Jid::pn(phone.trim_start_matches('+').to_owned()));
    (asked.jid("jid").map(|jid| jid.bare()).or(by_phone), phone)
}
