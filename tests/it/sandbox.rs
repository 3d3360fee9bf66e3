//! What the service does for devices, without any client's logic: stanzas in, stanzas out, in virtual time.

use crate::probe::Probes;
use wharf::sandbox::world::WorldError;
use wharf::wire::phash::participant_hash;
use wharf::wire::{Jid, Node, Server};

const ANNA: &str = "15550000001";
const BERT: &str = "15550000002";
const CARL: &str = "15550000003";

fn of_groups() -> Jid {
    Jid::new("", Server::Group)
}

fn enc(kind: &'static str, bytes: &[u8]) -> Node {
    Node::new("enc").attr("v", "2").attr("type", kind).bytes(bytes)
}

fn to(jid: &Jid, bytes: &[u8]) -> Node {
    Node::new("to").attr("jid", jid).child(enc("msg", bytes))
}

fn bytes_of(message: &Node) -> Vec<&[u8]> {
    message.all("enc").map(Node::content_bytes).collect()
}

fn person(jid: Jid) -> Node {
    Node::new("participant").attr("jid", jid)
}

/// Anna's, Bert's and Carl's devices, and the group that Anna has made of the three.
fn in_a_group() -> (Probes, [usize; 3], Jid) {
    let mut net = Probes::new();
    let devices = [ANNA, BERT, CARL].map(|number| net.linked(number));
    let people = [BERT, CARL].map(|number| person(Jid::pn(number)));
    let create = Node::new("create").attr("subject", "three").attr("key", "k").children(people);
    let made = net.ask(devices[0], "set", "w:g2", &of_groups(), create);
    let id = made.find("group").unwrap().text("id").unwrap().into_owned();
    (net, devices, Jid::new(id, Server::Group))
}

/// The one change of a group that this device was told of, by its tag and content.
fn told(net: &mut Probes, device: usize) -> Node {
    let notifications = net.take(device, "notification");
    let mut of_groups = notifications.into_iter().filter(|node| node.is("type", "w:gp2"));
    let told = of_groups.next().expect("a change of a group").nodes()[0].clone();
    assert!(of_groups.next().is_none(), "one change, one notification");
    told
}

#[test]
fn a_group_is_made_shown_to_its_members_and_announced_to_their_devices() {
    let (mut net, [anna, bert, carl], group) = in_a_group();
    net.settle();
    for member in [bert, carl] {
        let created = told(&mut net, member);
        let shown = created.find("group").unwrap();
        assert_eq!(shown.text("subject").unwrap(), "three");
        assert_eq!(shown.all("participant").count(), 3);
    }
    let asked = net.ask(bert, "get", "w:g2", &group, Node::new("query").attr("request", "interactive"));
    let shown = asked.find("group").unwrap();
    let anna = net.lid(anna).bare();
    assert_eq!(shown.jid("creator"), Some(anna.clone()));
    let superadmin = shown.all("participant").find(|member| member.is("type", "superadmin")).unwrap();
    assert_eq!((superadmin.jid("jid"), superadmin.jid("phone_number")), (Some(anna), Some(Jid::pn(ANNA))));
    let all = net.ask(carl, "get", "w:g2", &of_groups(), Node::new("participating").child(Node::new("participants")));
    assert_eq!(all.find("groups").unwrap().all("group").count(), 1);
}

#[test]
fn members_are_added_promoted_demoted_and_removed_and_each_change_is_announced() {
    let (mut net, [anna, bert, carl], group) = in_a_group();
    net.clear();
    for (change, role) in [("promote", Some("admin")), ("demote", None)] {
        let answer = net.ask(anna, "set", "w:g2", &group, Node::new(change).child(person(Jid::pn(BERT))));
        assert!(!answer.find(change).unwrap().nodes()[0].has("error"));
        assert_eq!(told(&mut net, bert).tag, change);
        let shown = net.ask(anna, "get", "w:g2", &group, Node::new("query"));
        let lid = net.lid(bert).bare();
        let member =
            shown.find("group").unwrap().all("participant").find(|it| it.jid("jid") == Some(lid.clone())).cloned();
        assert_eq!(member.unwrap().text("type").as_deref(), role);
        net.clear();
    }
    net.ask(anna, "set", "w:g2", &group, Node::new("remove").child(person(Jid::pn(CARL))));
    assert_eq!(told(&mut net, carl).tag, "remove", "who is removed is told");
    let refused = net.ask(carl, "get", "w:g2", &group, Node::new("query"));
    assert!(refused.find("error").unwrap().is("code", "403"));
    let again = Node::new("add").children([person(Jid::pn(CARL)), person(Jid::pn(BERT)), person(Jid::pn("19999999"))]);
    let answer = net.ask(anna, "set", "w:g2", &group, again);
    let errors: Vec<_> = answer.find("add").unwrap().nodes().iter().map(|it| it.number("error")).collect();
    assert_eq!(errors, [None, Some(409), Some(404)]);
}

#[test]
fn a_member_who_is_no_admin_changes_nobody() {
    let (mut net, [anna, bert, _], group) = in_a_group();
    let refused = net.ask(bert, "set", "w:g2", &group, Node::new("remove").child(person(Jid::pn(CARL))));
    assert!(refused.find("error").unwrap().is("code", "403"));
    let founder = net.ask(anna, "set", "w:g2", &group, Node::new("demote").child(person(Jid::pn(ANNA))));
    assert_eq!(founder.find("demote").unwrap().nodes()[0].number("error"), Some(405));
}

#[test]
fn subject_description_and_switches_of_a_group_are_kept_and_announced() {
    let (mut net, [anna, bert, _], group) = in_a_group();
    net.clear();
    let body = Node::new("body").bytes(&b"about us"[..]);
    for change in [
        Node::new("subject").bytes(&b"four"[..]),
        Node::new("description").attr("id", "d1").child(body),
        Node::new("announcement"),
        Node::new("locked"),
        Node::new("ephemeral").attr("expiration", "86400"),
    ] {
        let tag = change.tag.clone();
        let answer = net.ask(anna, "set", "w:g2", &group, change);
        assert!(answer.is("type", "result"), "{answer}");
        assert_eq!(told(&mut net, bert).tag, tag);
    }
    let shown = net.ask(bert, "get", "w:g2", &group, Node::new("query"));
    let shown = shown.find("group").unwrap();
    assert_eq!(shown.text("subject").unwrap(), "four");
    assert_eq!(shown.find("description").unwrap().find("body").unwrap().content_bytes(), b"about us");
    assert!(shown.find("announcement").is_some() && shown.find("locked").is_some());
    assert_eq!(shown.find("ephemeral").unwrap().number("expiration"), Some(86400));
    let locked = net.ask(bert, "set", "w:g2", &group, Node::new("subject").bytes(&b"mine"[..]));
    assert!(locked.find("error").unwrap().is("code", "403"), "only admins change a locked group");
    for change in ["not_announcement", "unlocked", "not_ephemeral"] {
        net.ask(anna, "set", "w:g2", &group, Node::new(change));
    }
    net.ask(anna, "set", "w:g2", &group, Node::new("description").child(Node::new("delete")));
    let shown = net.ask(bert, "get", "w:g2", &group, Node::new("query"));
    let left = ["announcement", "locked", "ephemeral", "description"];
    assert!(left.iter().all(|tag| shown.find("group").unwrap().find(tag).is_none()), "{shown}");
}

#[test]
fn people_join_by_an_invitation_that_is_not_reset_and_leave_by_themselves() {
    let (mut net, [anna, bert, _], group) = in_a_group();
    let dora = net.linked("15550000004");
    let code = |answer: &Node| answer.find("invite").unwrap().text("code").unwrap().into_owned();
    let old = code(&net.ask(anna, "get", "w:g2", &group, Node::new("invite")));
    let new = code(&net.ask(anna, "set", "w:g2", &group, Node::new("invite")));
    assert_ne!(old, new);
    let invite = |code: &str| Node::new("invite").attr("code", code.to_owned());
    assert!(net.ask(dora, "set", "w:g2", &of_groups(), invite(&old)).is("type", "error"));
    let seen = net.ask(dora, "get", "w:g2", &of_groups(), invite(&new));
    assert_eq!(seen.find("group").unwrap().text("subject").unwrap(), "three");
    net.clear();
    let joined = net.ask(dora, "set", "w:g2", &of_groups(), invite(&new));
    assert_eq!(joined.find("group").unwrap().jid("jid"), Some(group.clone()));
    assert_eq!(told(&mut net, bert).tag, "add");
    let leave = Node::new("leave").child(Node::new("group").attr("id", group.to_string()));
    net.ask(dora, "set", "w:g2", &of_groups(), leave);
    net.settle();
    assert_eq!(told(&mut net, bert).tag, "remove");
    assert_eq!(net.world.group(&group.to_string()).unwrap().participants.len(), 3);
}

#[test]
fn a_group_message_reaches_every_other_device_with_its_own_ciphertext_before_the_common_one() {
    let (mut net, [anna, bert, carl], group) = in_a_group();
    let second = net.linked(ANNA);
    net.clear();
    let (to_bert, to_second) = (net.lid(bert), net.lid(second));
    let own = Node::new("participants").children([to(&to_bert, b"for bert"), to(&to_second, b"for second")]);
    let message = Node::new("message").attr("to", &group).attr("id", "M").attr("type", "text");
    net.send(anna, message.attr("addressing_mode", "lid").child(own).child(enc("skmsg", b"all")));
    net.settle();
    let author = net.lid(anna);
    for (device, expected) in
        [(bert, vec![&b"for bert"[..], b"all"]), (carl, vec![b"all"]), (second, vec![b"for second", b"all"])]
    {
        let got = net.take(device, "message").remove(0);
        assert_eq!(bytes_of(&got), expected);
        assert_eq!((got.jid("from"), got.jid("participant")), (Some(group.clone()), Some(author.clone())));
        assert_eq!(got.jid("participant_pn"), Some(net.jid(anna)));
    }
    assert!(net.take(anna, "message").is_empty(), "never back to the sending device");
    assert!(!net.take(anna, "ack")[0].has("error"));
}

#[test]
fn who_is_not_in_a_group_or_may_not_write_in_it_is_refused() {
    let (mut net, [anna, bert, _], group) = in_a_group();
    let dora = net.linked("15550000004");
    net.ask(anna, "set", "w:g2", &group, Node::new("announcement"));
    net.clear();
    for device in [dora, bert] {
        let message = Node::new("message").attr("to", &group).attr("id", "M").attr("type", "text");
        net.send(device, message.child(enc("skmsg", b"no")));
        net.settle();
        assert!(net.take(device, "ack")[0].is("error", "403"));
    }
    assert!(net.take(anna, "message").is_empty());
}

#[test]
fn a_group_message_that_is_sent_again_reaches_that_device_only() {
    let (mut net, [anna, bert, carl], group) = in_a_group();
    net.clear();
    let retry = Node::new("receipt").attr("to", &group).attr("participant", net.lid(anna)).attr("id", "M");
    let retry = retry.attr("type", "retry").child(Node::new("retry").attr("count", "1").attr("id", "M"));
    net.send(bert, retry);
    net.settle();
    let asked = net.take(anna, "receipt").remove(0);
    assert_eq!((asked.jid("from"), asked.jid("participant")), (Some(group.clone()), Some(net.lid(bert))));
    assert!(asked.find("retry").unwrap().is("count", "1"));
    let again = Node::new("message").attr("to", &group).attr("participant", net.lid(bert)).attr("id", "M");
    net.send(anna, again.child(enc("msg", b"again").attr("count", "1")));
    net.settle();
    assert_eq!(bytes_of(&net.take(bert, "message")[0]), [b"again"]);
    assert!(net.take(carl, "message").is_empty());
}

#[test]
fn an_acknowledgement_names_the_devices_hash_only_when_the_message_went_to_others() {
    let (mut net, [anna, bert, carl], group) = in_a_group();
    let mut everyone = Vec::new();
    for device in [anna, bert, carl] {
        everyone.extend([net.lid(device), net.lid(device).bare()]);
    }
    let right = participant_hash(&everyone);
    net.clear();
    for (claimed, answered) in [(right.clone(), None), ("2:AAAAAAAA".to_owned(), Some(right))] {
        let message = Node::new("message").attr("to", &group).attr("id", "M").attr("phash", claimed);
        net.send(anna, message.child(enc("skmsg", b"x")));
        net.settle();
        assert_eq!(net.take(anna, "ack")[0].text("phash").map(|it| it.into_owned()), answered);
    }
    let (lid, own) = (net.lid(bert), net.lid(anna).bare());
    let all = [to(&lid.bare(), b"1"), to(&lid, b"2"), to(&own, b"3")];
    for (sent, missed) in [(3, false), (2, true)] {
        let participants = Node::new("participants").children(all.iter().take(sent).cloned());
        net.send(anna, Node::new("message").attr("to", lid.bare()).attr("id", "N").child(participants));
        net.settle();
        assert_eq!(net.take(anna, "ack")[0].has("phash"), missed);
    }
}

#[test]
fn a_status_reaches_those_who_are_listed() {
    let (mut net, [anna, bert, carl], _) = in_a_group();
    net.clear();
    let status = Jid::new("status", Server::Broadcast);
    let listed =
        Node::new("participants").children([to(&net.lid(bert), b"key"), Node::new("to").attr("jid", Jid::pn(BERT))]);
    let message = Node::new("message").attr("to", &status).attr("id", "S").attr("type", "text");
    net.send(anna, message.child(listed).child(enc("skmsg", b"seen")));
    net.settle();
    let got = net.take(bert, "message").remove(0);
    assert_eq!(got.jid("from"), Some(status));
    assert_eq!(bytes_of(&got), [&b"key"[..], b"seen"]);
    assert!(net.take(carl, "message").is_empty());
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
    assert!(net.take(first, "notification").is_empty(), "who wrote it knows it");
    let got = ask(&mut net, second, sync(0, None));
    assert_eq!(got.find("patches").unwrap().nodes()[0].content_bytes(), b"\x22\x01\x09\x0a\x02\x08\x01");
    let conflict = ask(&mut net, second, sync(0, Some(b"late")));
    assert!(conflict.find("error").unwrap().is("code", "409"), "{conflict}");
    assert_eq!(conflict.find("patches").unwrap().nodes().len(), 1);
}

#[test]
fn what_waits_for_a_device_survives_a_restart_and_its_end_is_told_when_it_is_acknowledged() {
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
    assert!(net.take(bert, "message").is_empty(), "what was acknowledged is gone");
}

#[test]
fn the_end_of_a_backlog_does_not_wait_for_ever() {
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
    assert_eq!(net.take(bert, "message").len(), 2, "it comes again until it is acknowledged");
}

#[test]
fn a_phone_goes_on_with_its_sessions_and_groups_after_a_restart() {
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
fn presence_is_told_to_those_who_asked_and_writing_to_the_chat() {
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
    assert!(net.take(bert, "presence")[0].is("type", "unavailable"), "who is gone is not there");
    net.log_in(anna);
    net.send(anna, Node::new("chatstate").attr("to", Jid::pn(BERT)).child(Node::new("composing")));
    net.settle();
    let writing = net.take(bert, "chatstate").remove(0);
    assert_eq!((writing.jid("from"), writing.nodes()[0].tag.as_ref()), (Some(Jid::pn(ANNA)), "composing"));
}

#[test]
fn what_people_set_about_themselves_is_shown_to_others() {
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
fn privacy_is_kept_and_who_is_blocked_is_not_heard() {
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
    assert!(!net.take(bert, "ack")[0].has("error"), "who is blocked does not learn of it");
    net.ask(anna, "set", "blocklist", &service, item("unblock"));
    assert_eq!(hello(&mut net), 1);
}

#[test]
fn a_trusted_contact_is_sent_a_token() {
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
fn a_removed_device_is_told_so_its_account_learns_of_it_and_it_is_refused_from_then_on() {
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
fn receipts_reach_the_senders_devices_and_those_for_oneself_the_own_ones() {
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
fn one_receipt_takes_every_message_that_it_names_off_the_queue() {
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
fn a_question_that_nobody_knows_is_answered_with_an_error() {
    let mut net = Probes::new();
    let anna = net.linked(ANNA);
    for (xmlns, content) in [("w:unheard-of", "x"), ("w:g2", "x"), ("md", "x"), ("encrypt", "x"), ("usync", "x")] {
        let answer = net.ask(anna, "get", xmlns, &Jid::service(), Node::new(content));
        assert!(answer.is("type", "error") && answer.find("error").unwrap().has("code"), "{answer}");
    }
}
