//! The service without client logic: stanzas in, stanzas out, in virtual time. Groups: `sandbox_groups.rs`.

use crate::probe::Probes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use wharf::sandbox::world::{World, WorldError};
use wharf::signal::{KeyPair, SignedPreKeyId};
use wharf::wire::prekeys::skey_node;
use wharf::wire::{Jid, Node};

const ANNA: &str = "15550000001";
const BERT: &str = "15550000002";

pub fn enc(kind: &'static str, bytes: &[u8]) -> Node {
    Node::new("enc").attr("v", "2").attr("type", kind).bytes(bytes)
}

pub fn to(jid: &Jid, bytes: &[u8]) -> Node {
    Node::new("to").attr("jid", jid).child(enc("msg", bytes))
}

#[test]
fn app_state_is_numbered_by_the_service_and_synced_to_the_other_devices() {
    let mut net = Probes::new();
    let (first, second) = (net.linked(ANNA), net.linked(ANNA));
    net.clear();
    let sync = |version: u64, patch: Option<&[u8]>| {
        let collection = Node::new("collection").attr("name", "regular_low").attr("version", version);
        Node::new("sync").child(collection.children(patch.map(|patch| Node::new("patch").bytes(patch))))
    };
    let ask = |net: &mut Probes, device, content| {
        let answer = net.ask(device, "set", "w:sync:app:state", &Jid::service(), content);
        answer.find("sync").unwrap().nodes()[0].clone()
    };
    assert_eq!(ask(&mut net, first, sync(0, None)).number("version"), Some(0));
    assert_eq!(ask(&mut net, first, sync(0, Some(b"\x22\x01\x09"))).number("version"), Some(1));
    net.settle();
    let told = net.take(second, "notification").remove(0);
    assert!(told.is("type", "server_sync") && told.nodes()[0].is("version", "1"));
    assert!(net.take(first, "notification").is_empty(), "the writer is not notified");
    let got = ask(&mut net, second, sync(0, None));
    assert_eq!(got.find("patches").unwrap().nodes()[0].content_bytes(), b"\x22\x01\x09\x0a\x02\x08\x01");
    let conflict = ask(&mut net, second, sync(0, Some(b"late")));
    assert!(conflict.find("error").unwrap().is("code", "409"), "{conflict}");
    assert_eq!(conflict.find("patches").unwrap().nodes().len(), 1);
}

#[test]
fn backlog_survives_a_restart_and_its_end_is_announced_once_it_is_acknowledged() {
    let mut net = Probes::new();
    let (anna, bert) = (net.linked(ANNA), net.linked(BERT));
    net.clear();
    let root = *net.world.root_key();
    net.cut(bert);
    for id in ["1", "2"] {
        let participants = Node::new("participants").child(to(&net.jid(bert), id.as_bytes()));
        net.send(anna, Node::new("message").attr("to", Jid::pn(BERT)).attr("id", id).child(participants));
    }
    net.settle();
    net.restart();
    assert_eq!(net.world.root_key(), &root, "clients still trust the service");
    net.log_in(bert);
    let waited = net.take(bert, "message");
    assert_eq!(waited.iter().map(|it| it.text("id").unwrap().into_owned()).collect::<Vec<_>>(), ["1", "2"]);
    assert!(waited.iter().all(|it| it.has("offline")));
    let ends: Vec<Node> = net.take(bert, "ib").into_iter().filter(|ib| ib.find("offline").is_some()).collect();
    assert_eq!(ends.len(), 1);
    net.restart();
    net.log_in(bert);
    assert!(net.take(bert, "message").is_empty(), "acknowledged stanzas are not redelivered");
}

#[test]
fn end_of_a_backlog_is_announced_even_if_stanzas_stay_unacknowledged() {
    let mut net = Probes::new();
    let (anna, bert) = (net.linked(ANNA), net.linked(BERT));
    net.clear();
    net.cut(bert);
    net.be_silent(bert);
    let participants = Node::new("participants").child(to(&net.jid(bert), b"x"));
    net.send(anna, Node::new("message").attr("to", Jid::pn(BERT)).attr("id", "1").child(participants));
    net.settle();
    net.log_in(bert);
    let is_end = |ib: &Node| ib.find("offline").is_some();
    assert!(net.take(bert, "ib").iter().any(is_end));
    net.cut(bert);
    net.log_in(bert);
    assert_eq!(net.take(bert, "message").len(), 2, "unacknowledged stanzas are redelivered");
}

#[test]
fn sessions_and_groups_of_a_phone_survive_a_restart() {
    let mut net = Probes::new();
    for number in [ANNA, BERT] {
        net.world.create_phone(number, None).unwrap();
    }
    let group = net.world.create_group("two", ANNA, &[BERT.into()]).unwrap().id;
    net.world.write_text(ANNA, BERT, "before").unwrap();
    net.world.write_text(BERT, ANNA, "answer").unwrap();
    net.world.write_text(ANNA, &group, "to both, before").unwrap();
    net.settle();
    net.restart();
    net.world.write_text(ANNA, BERT, "after").unwrap();
    net.world.write_text(ANNA, &group, "to both, after").unwrap();
    let read = net.world.phone_messages(BERT).unwrap();
    let texts: Vec<_> = read.iter().map(|message| message.text.as_deref().unwrap()).collect();
    assert_eq!(texts, ["before", "to both, before", "after", "to both, after"]);
    assert_eq!(net.world.group(&group).unwrap().subject, "two");
}

#[test]
fn presence_reaches_its_subscribers_and_chat_states_reach_the_chat() {
    let mut net = Probes::new();
    let (anna, bert) = (net.linked(ANNA), net.linked(BERT));
    net.clear();
    net.send(bert, Node::new("presence").attr("type", "subscribe").attr("to", Jid::pn(ANNA)));
    net.settle();
    assert!(net.take(bert, "presence")[0].is("type", "unavailable"));
    net.send(anna, Node::new("presence").attr("type", "available").attr("name", "Anna A."));
    net.settle();
    let told = net.take(bert, "presence").remove(0);
    assert_eq!((told.jid("from"), told.has("type")), (Some(Jid::pn(ANNA)), false));
    assert_eq!(net.world.phone(ANNA).unwrap().name, "Anna A.");
    net.cut(anna);
    net.settle();
    assert!(net.take(bert, "presence")[0].is("type", "unavailable"), "a disconnected person is unavailable");
    net.log_in(anna);
    net.send(anna, Node::new("chatstate").attr("to", Jid::pn(BERT)).child(Node::new("composing")));
    net.settle();
    let writing = net.take(bert, "chatstate").remove(0);
    assert_eq!((writing.jid("from"), writing.nodes()[0].tag.as_ref()), (Some(Jid::pn(ANNA)), "composing"));
}

#[test]
fn about_text_picture_and_disappearing_mode_are_shown_to_others() {
    let mut net = Probes::new();
    let (anna, bert) = (net.linked(ANNA), net.linked(BERT));
    net.world.set_media_host("127.0.0.1:1".into());
    let service = Jid::service();
    net.ask(anna, "set", "status", &service, Node::new("status").bytes(&b"at sea"[..]));
    net.ask(anna, "set", "disappearing_mode", &service, Node::new("disappearing_mode").attr("duration", "60"));
    let set = net.ask(anna, "set", "w:profile:picture", &service, Node::new("picture").bytes(&b"jpeg"[..]));
    let id = set.find("picture").unwrap().text("id").unwrap().into_owned();
    let asked = ["status", "picture", "disappearing_mode", "lid"].map(Node::new);
    let user = Node::new("user").attr("jid", Jid::pn(ANNA));
    let usync = Node::new("usync").attr("sid", "1").child(Node::new("query").children(asked));
    let answer = net.ask(bert, "get", "usync", &service, usync.child(Node::new("list").child(user)));
    let shown = &answer.find("usync").unwrap().find("list").unwrap().nodes()[0];
    assert_eq!(shown.find("status").unwrap().content_bytes(), b"at sea");
    assert!(shown.find("picture").unwrap().is("id", &id));
    assert_eq!(shown.find("disappearing_mode").unwrap().number("duration"), Some(60));
    let get = Node::new("picture").attr("type", "preview").attr("query", "url");
    let picture = net.ask(bert, "get", "w:profile:picture", &Jid::pn(ANNA), get);
    let url = picture.find("picture").unwrap().text("url").unwrap().into_owned();
    let path = url.strip_prefix("https://127.0.0.1:1").unwrap();
    assert_eq!(net.world.fetch_media(path).unwrap().as_slice(), b"jpeg");
    let none = net.ask(anna, "get", "w:profile:picture", &Jid::pn(BERT), Node::new("picture"));
    assert!(none.find("error").unwrap().is("code", "404"));
}

#[test]
fn privacy_settings_are_stored_and_messages_of_blocked_people_are_not_delivered() {
    let mut net = Probes::new();
    let (anna, bert) = (net.linked(ANNA), net.linked(BERT));
    let service = Jid::service();
    let category = Node::new("category").attr("name", "last").attr("value", "none");
    net.ask(anna, "set", "privacy", &service, Node::new("privacy").child(category));
    let shown = net.ask(anna, "get", "privacy", &service, Node::new("privacy"));
    let shown = shown.find("privacy").unwrap();
    assert!(shown.all("category").any(|it| it.is("name", "last") && it.is("value", "none")));
    assert!(shown.all("category").any(|it| it.is("name", "readreceipts") && it.is("value", "all")));
    let item = |action: &'static str| Node::new("item").attr("action", action).attr("jid", Jid::pn(BERT));
    let list = net.ask(anna, "set", "blocklist", &service, item("block"));
    assert_eq!(list.find("list").unwrap().nodes()[0].jid("pn_jid"), Some(Jid::pn(BERT)));
    net.clear();
    let hello = |net: &mut Probes| {
        let participants = Node::new("participants").child(to(&net.jid(anna), b"hello"));
        net.send(bert, Node::new("message").attr("to", Jid::pn(ANNA)).attr("id", "M").child(participants));
        net.settle();
        net.take(anna, "message").len()
    };
    assert_eq!(hello(&mut net), 0);
    assert!(!net.take(bert, "ack")[0].has("error"), "the block is not disclosed");
    net.ask(anna, "set", "blocklist", &service, item("unblock"));
    assert_eq!(hello(&mut net), 1);
}

#[test]
fn trusted_contact_is_sent_a_privacy_token() {
    let mut net = Probes::new();
    let (anna, bert) = (net.linked(ANNA), net.linked(BERT));
    net.clear();
    let token = Node::new("token").attr("jid", Jid::pn(BERT)).attr("t", "5").attr("type", "trusted_contact");
    net.ask(anna, "set", "privacy", &Jid::service(), Node::new("tokens").child(token));
    net.settle();
    let told = net.take(bert, "notification").remove(0);
    assert!(told.is("type", "privacy_token") && told.jid("from") == Some(Jid::pn(ANNA)));
    assert_eq!(told.find("tokens").unwrap().nodes()[0].content_bytes().len(), 16);
}

#[test]
fn removed_device_is_disconnected_its_account_is_notified_and_its_login_is_refused() {
    let mut net = Probes::new();
    let (first, second) = (net.linked(ANNA), net.linked(ANNA));
    net.clear();
    let remove = Node::new("remove-companion-device").attr("jid", net.jid(second)).attr("reason", "user_initiated");
    assert!(net.ask(first, "set", "md", &Jid::service(), remove).is("type", "result"));
    net.settle();
    let ended = net.take(second, "stream:error").remove(0);
    assert!(ended.find("conflict").unwrap().is("type", "device_removed"));
    assert!(!net.is_connected(second));
    let told = net.take(first, "notification");
    let of_kind = |kind: &'static str| told.iter().filter(move |it| it.is("type", kind));
    assert!(of_kind("devices").all(|it| it.find("remove").is_some()));
    assert_eq!((of_kind("devices").count(), of_kind("account_sync").count()), (2, 1), "by both names, and as a list");
    net.log_in(second);
    assert!(net.take(second, "failure")[0].is("reason", "401"));
    assert_eq!(net.world.unlink(ANNA, 9), Err(WorldError::NoCompanion(ANNA.into(), 9)));
}

#[test]
fn receipts_reach_the_devices_of_the_sender_and_read_self_reaches_the_own_devices() {
    let mut net = Probes::new();
    let (anna, bert, second) = (net.linked(ANNA), net.linked(BERT), net.linked(BERT));
    net.clear();
    let receipt =
        |kind: &'static str| Node::new("receipt").attr("id", "M").attr("to", Jid::pn(ANNA)).attr("type", kind);
    for (kind, shown) in [("read", Some("read")), ("inactive", None)] {
        net.send(bert, receipt(kind));
        net.settle();
        let got = net.take(anna, "receipt").remove(0);
        assert_eq!((got.jid("from"), got.text("type").as_deref()), (Some(net.jid(bert)), shown));
    }
    net.send(bert, receipt("read-self"));
    net.settle();
    assert!(net.take(anna, "receipt").is_empty());
    assert!(net.take(second, "receipt")[0].is("type", "read-self"));
}

#[test]
fn receipt_dequeues_every_message_that_it_names() {
    let mut net = Probes::new();
    let (anna, bert) = (net.linked(ANNA), net.linked(BERT));
    net.clear();
    net.be_silent(bert);
    for id in ["1", "2", "3"] {
        let participants = Node::new("participants").child(to(&net.jid(bert), b"x"));
        net.send(anna, Node::new("message").attr("to", Jid::pn(BERT)).attr("id", id).child(participants));
    }
    net.settle();
    let items = ["2", "3"].map(|id| Node::new("item").attr("id", id));
    let receipt = Node::new("receipt").attr("id", "1").attr("to", Jid::pn(ANNA));
    net.send(bert, receipt.child(Node::new("list").children(items)));
    net.settle();
    net.clear();
    net.cut(bert);
    net.log_in(bert);
    assert!(net.take(bert, "message").is_empty());
}

#[test]
fn prekeys_are_served_once_each_and_their_owner_is_notified_when_few_are_left() {
    let mut net = Probes::new();
    let (anna, bert) = (net.linked(ANNA), net.linked(BERT));
    net.clear();
    net.upload_prekeys(anna, 6);
    let service = Jid::service();
    let count = |net: &mut Probes| {
        let answer = net.ask(anna, "get", "encrypt", &service, Node::new("count"));
        answer.find("count").unwrap().number("value").unwrap()
    };
    assert_eq!(count(&mut net), 6);
    let (to_anna, mut served) = (net.lid(anna), Vec::new());
    for _ in 0..7 {
        let user = Node::new("user").attr("jid", &to_anna);
        let answer = net.ask(bert, "get", "encrypt", &service, Node::new("key").child(user));
        let user = answer.find("list").unwrap().nodes()[0].clone();
        assert!(user.find("device-identity").is_some() && user.find("skey").is_some());
        served.push(user.find("key").map(|key| key.find("id").unwrap().content_bytes().to_vec()));
    }
    let keys: std::collections::BTreeSet<_> = served.iter().flatten().collect();
    assert_eq!((keys.len(), served.last().unwrap()), (6, &None), "each once, then none");
    assert_eq!(count(&mut net), 0);
    net.settle();
    let told: Vec<_> = net.take(anna, "notification").iter().map(|it| it.nodes()[0].number("value")).collect();
    assert_eq!(told.first(), Some(&Some(4)));
    let unknown = Node::new("user").attr("jid", to_anna.with_device(9));
    let answer = net.ask(bert, "get", "encrypt", &service, Node::new("key").child(unknown));
    assert!(answer.find("list").unwrap().nodes()[0].find("error").unwrap().is("code", "404"));
}

#[test]
fn malformed_upload_of_prekeys_changes_no_stored_key() {
    let mut net = Probes::new();
    let anna = net.linked(ANNA);
    net.upload_prekeys(anna, 6);
    net.clear();
    let service = Jid::service();
    let digest = |net: &mut Probes| net.ask(anna, "get", "encrypt", &service, Node::new("digest")).nodes().to_vec();
    let before = digest(&mut net);
    let pair = KeyPair::generate(&mut StdRng::seed_from_u64(3));
    let skey = skey_node(SignedPreKeyId::FIRST, pair.public(), &[1; 64]);
    let list = Node::new("list").child(Node::new("key"));
    let upload = Node::new("iq").attr("id", "keys").attr("type", "set").attr("xmlns", "encrypt");
    net.send(anna, upload.children([list, skey]));
    net.settle();
    assert!(net.take(anna, "iq")[0].is("type", "error"));
    assert_eq!(digest(&mut net), before);
}

#[test]
fn contact_query_finds_a_registered_number_and_no_other() {
    let mut net = Probes::new();
    let anna = net.linked(ANNA);
    net.world.create_phone(BERT, None).unwrap();
    let user = |phone: &str| Node::new("user").child(Node::new("contact").bytes(format!("+{phone}").into_bytes()));
    let list = Node::new("list").children([user(BERT), user("15559999999")]);
    let usync = Node::new("usync").attr("sid", "1").child(Node::new("query").child(Node::new("contact"))).child(list);
    let answer = net.ask(anna, "get", "usync", &Jid::service(), usync);
    let users = answer.find("usync").unwrap().find("list").unwrap().nodes();
    assert_eq!((users[0].jid("jid"), users[1].jid("jid")), (Some(Jid::pn(BERT)), None));
    let kinds = users.iter().map(|user| user.find("contact").unwrap().text("type").unwrap().into_owned());
    assert_eq!(kinds.collect::<Vec<_>>(), ["in", "out"]);
}

#[test]
fn media_connection_names_the_media_host_or_is_refused_without_one() {
    let mut net = Probes::new();
    let anna = net.linked(ANNA);
    let ask = |net: &mut Probes| net.ask(anna, "set", "w:m", &Jid::service(), Node::new("media_conn"));
    assert!(ask(&mut net).is("type", "error"));
    net.world.set_media_host("127.0.0.1:7443".into());
    let answer = ask(&mut net);
    assert_eq!(answer.find("media_conn").unwrap().find("host").unwrap().text("hostname").unwrap(), "127.0.0.1:7443");
}

#[test]
fn device_numbers_are_reused_and_key_indexes_are_not() {
    let mut net = Probes::new();
    let first = net.linked(ANNA);
    for round in 2..=100u16 {
        let device = net.linked(ANNA);
        let number = net.jid(device).device();
        assert!(number < 99, "99 would be a hosted device");
        net.world.unlink(ANNA, number).unwrap();
        net.settle();
        assert_eq!(net.world.phone(ANNA).unwrap().companions, [1], "round {round}");
    }
    assert_eq!(net.jid(first).device(), 1);
    assert!(net.is_connected(first));
}

#[test]
fn unknown_request_is_answered_with_an_error() {
    let mut net = Probes::new();
    let anna = net.linked(ANNA);
    for (xmlns, content) in [("w:unheard-of", "x"), ("w:g2", "x"), ("md", "x"), ("encrypt", "x"), ("usync", "x")] {
        let answer = net.ask(anna, "get", xmlns, &Jid::service(), Node::new(content));
        assert!(answer.is("type", "error") && answer.find("error").unwrap().has("code"), "{answer}");
    }
}

#[test]
fn unreadable_rows_are_refused_with_the_reason() {
    let mut rows = Probes::new().into_rows();
    let now = wharf::base::time::Timestamp::from_secs(1);
    let refused = |rows: &std::collections::BTreeMap<String, Vec<u8>>| World::restore(rows.clone(), 1, now).err();
    assert_eq!(refused(&rows), None);
    rows.insert("1/15550000001".into(), b"\xff".to_vec());
    assert_eq!(refused(&rows), Some(WorldError::Unreadable("an account")));
    rows.clear();
    rows.insert("2/15550000001".into(), Vec::new());
    assert_eq!(
        refused(&rows),
        Some(WorldError::Unreadable("the service's keys")),
        "new keys would lock every client out"
    );
}
