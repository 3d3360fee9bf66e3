//! Groups at the service: members, notifications, delivery.

use crate::probe::Probes;
use crate::sandbox::{enc, to};
use wharf::wire::phash::participant_hash;
use wharf::wire::{Jid, Node, Server};

const ANNA: &str = "15550000001";
const BERT: &str = "15550000002";
const CARL: &str = "15550000003";

fn of_groups() -> Jid {
    Jid::new("", Server::Group)
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

/// The one group notification of this device, as tag and content.
fn told(net: &mut Probes, device: usize) -> Node {
    let notifications = net.take(device, "notification");
    let mut of_groups = notifications.into_iter().filter(|node| node.is("type", "w:gp2"));
    let told = of_groups.next().expect("a change of a group").nodes()[0].clone();
    assert!(of_groups.next().is_none(), "one change, one notification");
    told
}

#[test]
fn new_group_is_announced_to_the_devices_of_its_members_and_shown_to_members() {
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
    assert_eq!(told(&mut net, carl).tag, "remove", "a removed member is notified");
    let refused = net.ask(carl, "get", "w:g2", &group, Node::new("query"));
    assert!(refused.find("error").unwrap().is("code", "403"));
    let again = Node::new("add").children([person(Jid::pn(CARL)), person(Jid::pn(BERT)), person(Jid::pn("19999999"))]);
    let answer = net.ask(anna, "set", "w:g2", &group, again);
    let errors: Vec<_> = answer.find("add").unwrap().nodes().iter().map(|it| it.number("error")).collect();
    assert_eq!(errors, [None, Some(409), Some(404)]);
}

#[test]
fn member_who_is_no_admin_cannot_change_members() {
    let (mut net, [anna, bert, _], group) = in_a_group();
    let refused = net.ask(bert, "set", "w:g2", &group, Node::new("remove").child(person(Jid::pn(CARL))));
    assert!(refused.find("error").unwrap().is("code", "403"));
    let founder = net.ask(anna, "set", "w:g2", &group, Node::new("demote").child(person(Jid::pn(ANNA))));
    assert_eq!(founder.find("demote").unwrap().nodes()[0].number("error"), Some(405));
}

#[test]
fn subject_description_and_switches_of_a_group_are_stored_and_announced() {
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
fn people_join_by_the_current_invite_code_and_leave() {
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
fn message_to_a_group_is_rejected_for_non_members_and_for_members_of_an_announcement_group() {
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
fn resent_group_message_reaches_its_target_device_only() {
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
fn acknowledgement_carries_the_participant_hash_only_when_the_message_missed_a_device() {
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
fn status_reaches_the_listed_people() {
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
fn phone_rotates_its_sender_key_when_a_member_has_left() {
    let (mut net, [anna, bert, _], group) = in_a_group();
    for device in [anna, bert] {
        net.upload_prekeys(device, 10);
    }
    let sent_keys = |net: &mut Probes, text: &str| {
        net.clear();
        net.world.write_text(CARL, &group.to_string(), text).unwrap();
        net.settle();
        net.take(bert, "message")[0].all("enc").count() == 2
    };
    assert!(sent_keys(&mut net, "first"), "the first message distributes the key");
    assert!(!sent_keys(&mut net, "second"), "the second does not");
    net.world.create_phone("15550000009", None).unwrap();
    net.ask(anna, "set", "w:g2", &group, Node::new("add").child(person(Jid::pn("15550000009"))));
    assert!(!sent_keys(&mut net, "one more"), "a new member is sent the key of the others");
    net.ask(anna, "set", "w:g2", &group, Node::new("remove").child(person(Jid::pn("15550000009"))));
    assert!(sent_keys(&mut net, "one less"), "a former member must not read on");
}
