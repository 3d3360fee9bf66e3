//! What a device asks about users: their devices, LID, status (`wire-protocol.md` 1.9, `sandbox-service.md` 4).

use crate::sandbox::world::directory::settings::asked_user;
use crate::sandbox::world::persistence::rows::Row;
use crate::sandbox::world::registry::account::Account;
use crate::sandbox::world::{DeviceId, World};
use crate::wire::{Node, WireError};
use rand::rngs::StdRng;

impl World {
    pub(in crate::sandbox::world) fn usync(&mut self, device: &DeviceId, iq: &Node) -> Result<Node, WireError> {
        let usync = iq.require_child("usync")?;
        let protocols = usync.require_child("query")?;
        let mut users = Vec::new();
        for user in usync.require_child("list")?.all("user") {
            users.push(self.usync_user(device, user, protocols));
        }
        let results = protocols.nodes().iter().map(|protocol| Node::new(protocol.tag.clone()));
        Ok(Node::new("usync")
            .maybe("sid", usync.get("sid").cloned())
            .attr("index", "0")
            .attr("last", "true")
            .maybe("mode", usync.get("mode").cloned())
            .maybe("context", usync.get("context").cloned())
            .child(Node::new("result").children(results))
            .child(Node::new("list").children(users)))
    }

    fn usync_user(&mut self, device: &DeviceId, asked: &Node, protocols: &Node) -> Node {
        let (jid, phone) = asked_user(asked);
        let number = jid.as_ref().and_then(|jid| self.number_of(jid));
        let is_stale =
            number.as_ref().is_some_and(|number| protocols.find("devices").is_some() && self.is_stale(number));
        let account = number.and_then(|number| self.accounts.get_mut(&number));
        let (Some(jid), Some(account)) = (jid, account) else {
            let contact = phone.map(|phone| Node::new("contact").attr("type", "out").bytes(phone));
            return Node::new("user").maybe("jid", asked.get("jid").cloned()).children(contact);
        };
        let mut user = Node::new("user").attr("jid", &jid);
        let mut met = false;
        for protocol in protocols.nodes() {
            let settings = &account.settings;
            user = match protocol.tag.as_ref() {
                "devices" => {
                    met |= account.acquaintances.insert(device.clone());
                    user.child(device_list(account, is_stale, self.now.secs(), &mut self.rng))
                }
                "lid" => user.child(Node::new("lid").attr("val", &account.lid)),
                "contact" => {
                    let phone = format!("+{}", account.pn.user());
                    user.child(Node::new("contact").attr("type", "in").bytes(phone))
                }
                "status" => {
                    let unset = ("In the sandbox".to_owned(), account.created);
                    let (about, at) = settings.about.clone().unwrap_or(unset);
                    user.child(Node::new("status").attr("t", at).bytes(about))
                }
                "picture" => match &settings.picture {
                    Some((id, _)) => user.child(Node::new("picture").attr("id", id.clone())),
                    None => user,
                },
                "disappearing_mode" => {
                    let (seconds, at) = settings.disappearing;
                    user.child(Node::new("disappearing_mode").attr("duration", seconds).attr("t", at))
                }
                _ => user,
            };
        }
        if met {
            let number = account.pn.user().to_owned();
            self.touch(|| Row::Account(number));
        }
        user
    }
}

fn device_list(account: &Account, is_stale: bool, now_secs: u64, rng: &mut StdRng) -> Node {
    let shown = account.companions.len().saturating_sub(usize::from(is_stale));
    let companions = account.companions.iter().take(shown).map(|(id, companion)| {
        Node::new("device").attr("id", u64::from(*id)).attr("key-index", u64::from(companion.key_index))
    });
    let phone = Node::new("device").attr("id", "0");
    let list = Node::new("device-list").child(phone).children(companions);
    let indexes = account.key_index_list(now_secs, rng);
    let signed = Node::new("key-index-list").attr("ts", now_secs).bytes(indexes);
    Node::new("devices").child(list).child(signed)
}
