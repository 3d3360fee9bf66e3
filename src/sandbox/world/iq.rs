//! The service's answers (`sandbox-service.md` 4). Every question is answered: a client waits for what never comes.

use super::account::Account;
use super::{Action, ConnectionId, DeviceId, FIRST_FRAME_DELAY, World};
use crate::wire::prekeys::{key_node, read_key, read_skey, skey_node};
use crate::wire::{Jid, Node, WireError};
use std::collections::VecDeque;

/// Below this many prekeys the owner is told.
const LOW_PREKEYS: usize = 5;
/// Prekeys that the service keeps of one device.
const MAX_PREKEYS: usize = 20_000;

const PRIVACY: [(&str, &str); 8] = [
    ("last", "all"),
    ("online", "all"),
    ("profile", "all"),
    ("status", "all"),
    ("groupadd", "all"),
    ("calladd", "all"),
    ("readreceipts", "all"),
    ("messages", "all"),
];

/// An answer's content, or the code and text of a refusal.
type Answer = Result<Option<Node>, (u64, &'static str)>;

impl World {
    pub(super) fn iq(&mut self, id: ConnectionId, device: &DeviceId, iq: &Node) {
        let kind = iq.text("type").unwrap_or_default().into_owned();
        if kind != "get" && kind != "set" {
            return;
        }
        let xmlns = iq.text("xmlns").unwrap_or_default().into_owned();
        let answer = self.answer(id, device, &xmlns, &kind, iq);
        let reply = Node::new("iq")
            .attr("from", iq.jid("to").unwrap_or_else(Jid::service))
            .attr("type", if answer.is_ok() { "result" } else { "error" })
            .maybe("id", iq.get("id").cloned());
        let reply = match answer {
            Ok(content) => reply.attr("t", self.now.secs()).children(content),
            Err((code, text)) => reply.child(Node::new("error").attr("code", code).attr("text", text)),
        };
        self.send(id, &reply);
    }

    fn answer(&mut self, id: ConnectionId, device: &DeviceId, xmlns: &str, kind: &str, iq: &Node) -> Answer {
        match (xmlns, kind) {
            ("encrypt", _) => self.encrypt_iq(device, iq),
            ("usync", _) => self.usync(device, iq).map(Some).map_err(|_| (400, "bad-request")),
            ("passive", _) => {
                if iq.find("active").is_some() {
                    self.after(FIRST_FRAME_DELAY, Action::Welcome(device.clone()));
                }
                Ok(None)
            }
            ("abt", _) => Ok(Some(
                Node::new("props")
                    .attr("protocol", "1")
                    .attr("ab_key", "sandbox")
                    .attr("hash", "sandbox")
                    .attr("refresh", "86400")
                    .attr("refresh_id", "1")
                    .child(Node::new("prop").attr("config_code", "10518").attr("config_value", "0")),
            )),
            ("md", "set") if iq.find("remove-companion-device").is_some() => {
                self.remove_companion(id, device);
                Ok(None)
            }
            ("w", "get") => Ok(Some(Node::new("props").attr("version", "2").attr("hash", "sandbox"))),
            ("blocklist", _) => Ok(Some(Node::new("list").attr("dhash", "sandbox"))),
            ("privacy", "get") => {
                let category = |(name, value)| Node::new("category").attr("name", name).attr("value", value);
                Ok(Some(Node::new("privacy").children(PRIVACY.map(category))))
            }
            ("w:sync:app:state", "set") => Ok(Some(empty_collections(iq))),
            ("w:profile:picture", "get") => Err((404, "item-not-found")),
            ("w:mex", _) => Ok(Some(Node::new("result").bytes(&b"{\"data\":{}}"[..]))),
            ("privacy" | "w:p" | "urn:xmpp:whatsapp:dirty" | "w:stats" | "status" | "urn:xmpp:ping", _) => Ok(None),
            _ => Err((501, "feature-not-implemented")),
        }
    }

    fn encrypt_iq(&mut self, device: &DeviceId, iq: &Node) -> Answer {
        let bad = |_: WireError| (400, "bad-request");
        if let Some(keys) = iq.find("key") {
            let users: Vec<Jid> = keys.all("user").filter_map(|user| user.jid("jid")).collect();
            let answers: Vec<Node> = users.iter().map(|user| self.bundle_answer(user)).collect();
            return Ok(Some(Node::new("list").children(answers)));
        }
        let Some(companion) = self.companion_mut(device) else { return Err((404, "item-not-found")) };
        if iq.find("count").is_some() {
            return Ok(Some(Node::new("count").attr("value", companion.prekeys.len())));
        }
        if let Some(skey) = iq.find("skey").or_else(|| iq.find("rotate").and_then(|rotate| rotate.find("skey"))) {
            companion.signed_prekey = Some(read_skey(skey).map_err(bad)?);
            if let Some(list) = iq.find("list") {
                let uploaded: VecDeque<_> = list.all("key").map(read_key).collect::<Result<_, _>>().map_err(bad)?;
                companion.prekeys.extend(uploaded);
                companion.prekeys.truncate(MAX_PREKEYS);
            }
            return Ok(None);
        }
        if iq.find("digest").is_some() {
            return companion.digest().map(Some).ok_or((404, "item-not-found"));
        }
        Err((400, "bad-request"))
    }

    /// One `<user>` of a prekey answer.
    fn bundle_answer(&mut self, user: &Jid) -> Node {
        let answer = Node::new("user").attr("jid", user);
        let number = self.number_of(user);
        let account = number.as_ref().and_then(|number| self.accounts.get_mut(number));
        let Some((bundle, identity)) = account.and_then(|account| account.take_bundle(user.device())) else {
            return answer.child(Node::new("error").attr("code", "404").attr("text", "item-not-found"));
        };
        let is_without = number.as_ref().is_some_and(|number| self.is_without_prekeys(number));
        if let Some(number) = number {
            self.warn_of_low_prekeys(&DeviceId { number, device: user.device() });
        }
        let answer = answer.attr("t", self.now.secs()).children([
            Node::new("registration").bytes(bundle.registration_id.to_be_bytes()),
            Node::new("type").bytes([5]),
            Node::new("identity").bytes(*bundle.identity.0.as_bytes()),
            skey_node(bundle.signed_pre_key_id, &bundle.signed_pre_key, &bundle.signature),
        ]);
        let one_time = bundle.one_time.filter(|_| !is_without).map(|(id, key)| key_node(id, &key));
        let identity = identity.map(|blob| Node::new("device-identity").bytes(blob));
        answer.children(one_time).children(identity)
    }

    fn warn_of_low_prekeys(&mut self, device: &DeviceId) {
        let Some(companion) = self.companion_mut(device) else { return };
        let left = companion.prekeys.len();
        let warned = companion.unacknowledged.iter().any(|node| node.is("type", "encrypt"));
        if left >= LOW_PREKEYS || warned {
            return;
        }
        let notification = Node::new("notification")
            .attr("from", Jid::service())
            .attr("type", "encrypt")
            .attr("id", self.new_stanza_id())
            .attr("t", self.now.secs())
            .child(Node::new("count").attr("value", left));
        self.deliver(device, notification);
    }

    fn usync(&mut self, device: &DeviceId, iq: &Node) -> Result<Node, WireError> {
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
        let phone = asked.find("contact").map(|contact| String::from_utf8_lossy(contact.content_bytes()).into_owned());
        let by_phone = phone.as_ref().map(|phone| Jid::pn(phone.trim_start_matches('+')));
        let jid = asked.jid("jid").map(|jid| jid.bare()).or(by_phone);
        let number = jid.as_ref().and_then(|jid| self.number_of(jid));
        let is_stale =
            number.as_ref().is_some_and(|number| protocols.find("devices").is_some() && self.is_stale(number));
        let account = number.and_then(|number| self.accounts.get_mut(&number));
        let (Some(jid), Some(account)) = (jid, account) else {
            let contact = phone.map(|phone| Node::new("contact").attr("type", "out").bytes(phone));
            return Node::new("user").maybe("jid", asked.get("jid").cloned()).children(contact);
        };
        let mut user = Node::new("user").attr("jid", &jid);
        for protocol in protocols.nodes() {
            user = match protocol.tag.as_ref() {
                "devices" => {
                    account.acquaintances.insert(device.clone());
                    user.child(device_list(account, is_stale, self.now.secs(), &mut self.rng))
                }
                "lid" => user.child(Node::new("lid").attr("val", &account.lid)),
                "contact" => {
                    let phone = format!("+{}", account.pn.user());
                    user.child(Node::new("contact").attr("type", "in").bytes(phone))
                }
                "status" => user.child(Node::new("status").attr("t", account.created).bytes("In the sandbox")),
                _ => user,
            };
        }
        user
    }
}

fn device_list(account: &Account, is_stale: bool, now_secs: u64, rng: &mut rand::rngs::StdRng) -> Node {
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

/// App state that has never been written: version 0, no patches.
fn empty_collections(iq: &Node) -> Node {
    let asked = iq.find("sync").map(Node::nodes).unwrap_or_default();
    let collections = asked.iter().filter_map(|collection| {
        let name = collection.text("name")?.into_owned();
        Some(Node::new("collection").attr("name", name).attr("version", "0"))
    });
    Node::new("sync").children(collections)
}
