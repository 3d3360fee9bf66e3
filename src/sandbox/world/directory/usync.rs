//! usync: queries of users' devices, LIDs, profiles (`wire-protocol.md` 1.9, `sandbox-service.md` 4).

use crate::sandbox::world::ids::DeviceId;
use crate::sandbox::world::net::faults::FaultKind;
use crate::sandbox::world::registry::account::Account;
use crate::sandbox::world::row::Row;
use crate::sandbox::world::state::World;
use crate::wire::{Jid, Node, WireError};
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

    fn usync_user(&mut self, device: &DeviceId, queried: &Node, protocols: &Node) -> Node {
        let (jid, phone) = queried_user(queried);
        let number = jid.as_ref().and_then(|jid| self.registry.number_of(jid));
        let is_stale = number.as_ref().is_some_and(|number| {
            protocols.find("devices").is_some() && self.fault(number, |kind| kind == FaultKind::StaleDevices).is_some()
        });
        let account = number.and_then(|number| self.registry.account_mut(&number));
        let (Some(jid), Some(account)) = (jid, account) else {
            let contact = phone.map(|phone| Node::new("contact").attr("type", "out").bytes(phone));
            return Node::new("user").maybe("jid", queried.get("jid").cloned()).children(contact);
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
        Node::new("device").attr("id", u64::from(*id)).attr("key-index", u64::from(companion.keys.key_index))
    });
    let phone = Node::new("device").attr("id", "0");
    let list = Node::new("device-list").child(phone).children(companions);
    let indexes = account.key_index_list(now_secs, rng);
    let signed = Node::new("key-index-list").attr("ts", now_secs).bytes(indexes);
    Node::new("devices").child(list).child(signed)
}

/// The user that a query names by JID, or by phone number as text; and that text.
fn queried_user(queried: &Node) -> (Option<Jid>, Option<String>) {
    let phone = queried.find("contact").map(|contact| String::from_utf8_lossy(contact.content_bytes()).into_owned());
    let by_phone = phone.as_deref().filter(|phone| !phone.is_empty());
    let by_phone = by_phone.map(|phone| Jid::pn(phone.trim_start_matches('+').to_owned()));
    (queried.jid("jid").map(|jid| jid.bare()).or(by_phone), phone)
}
