//! Accounts in groups, with phones and with each other: sender keys, retry receipts and resends, phash mismatches.

use crate::net::Net;
use std::time::Duration;
use wharf::account::Counter;
use wharf::sandbox::world::{FaultKind, MemberChange, NewFault};
use wharf::wire::{Jid, Node};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";
const CAROL: &str = "15550003333";

/// Alice and Bob as accounts, Carol as a phone, and their group.
fn crew() -> (Net, String) {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.linked("bob", BOB);
    net.world.create_phone(CAROL, Some("Carol")).unwrap();
    let group = net.world.create_group("crew", CAROL, &[ALICE.into(), BOB.into()]).unwrap().id;
    net.settle();
    (net, group)
}

fn send(net: &mut Net, from: &'static str, group: &str, text: &str) {
    net.send(from, group, text);
    net.settle();
}

fn received(net: &Net, name: &str) -> Vec<String> {
    let text = |data: serde_json::Value| data["text"]["body"].as_str().unwrap_or_default().to_owned();
    net.events(name, "message.received").into_iter().map(text).collect()
}

fn phone_read(net: &Net, number: &str) -> Vec<String> {
    let read = net.world.phone_messages(number).unwrap();
    read.iter().map(|message| message.text.clone().unwrap_or_default()).collect()
}

/// The number of devices that got our sender key with this account's last message to the group.
fn keys_in_last(net: &Net, number: &str, group: &str) -> usize {
    let of_account = |device: &Option<String>| device.as_ref().is_some_and(|device| device.starts_with(number));
    let sent = net.world.stanzas().filter(|log| log.direction == "received" && of_account(&log.device));
    let to_group = sent.filter(|log| log.stanza.starts_with("<message") && log.stanza.contains(group));
    to_group.last().map_or(0, |log| log.stanza.matches("<to jid=").count())
}

fn fault(kind: FaultKind, account: &str) -> NewFault {
    NewFault { kind, account: Some(account.into()), count: Some(1), until: None, seed: 5 }
}

#[test]
fn a_text_to_a_group_is_read_by_every_phone_and_account_in_it_once() {
    let (mut net, group) = crew();
    send(&mut net, "alice", &group, "ahoy");
    send(&mut net, "bob", &group, "aye");
    net.world.write_text(CAROL, &group, "hello all").unwrap();
    net.settle();
    assert_eq!(received(&net, "alice"), ["aye", "hello all"]);
    assert_eq!(received(&net, "bob"), ["ahoy", "hello all"]);
    for phone in [ALICE, BOB] {
        assert_eq!(phone_read(&net, phone), ["ahoy", "aye", "hello all"]);
    }
    assert_eq!(phone_read(&net, CAROL), ["ahoy", "aye"]);
    let event = &net.events("bob", "message.received")[0];
    assert_eq!(event["chat"], group);
    assert_eq!(event["from"], format!("{ALICE}@s.whatsapp.net"));
}

#[test]
fn status_of_a_group_message_rises_to_sent_delivered_and_read_for_each_member() {
    let (mut net, group) = crew();
    let id = net.send("alice", &group, "seen?");
    net.settle();
    let record = net.message("alice", &id);
    assert_eq!(record.status, wharf::account::commands::MessageStatus::Read);
    let mut readers: Vec<_> = record.recipients.iter().map(|recipient| recipient.jid.clone()).collect();
    readers.sort();
    assert_eq!(readers, [BOB, CAROL].map(|number| format!("{number}@s.whatsapp.net")));
}

#[test]
fn sender_key_is_distributed_once_to_each_device_and_survives_a_restart() {
    let (mut net, group) = crew();
    send(&mut net, "alice", &group, "first");
    assert_eq!(keys_in_last(&net, ALICE, &group), 4, "Bob's phone and account, Carol, and Alice's own phone");
    send(&mut net, "alice", &group, "second");
    assert_eq!(keys_in_last(&net, ALICE, &group), 0);
    net.restart("alice");
    net.settle();
    send(&mut net, "alice", &group, "third");
    assert_eq!(keys_in_last(&net, ALICE, &group), 0);
    assert_eq!(received(&net, "bob"), ["first", "second", "third"]);
}

#[test]
fn message_waiting_for_group_metadata_survives_reconnects() {
    let (mut net, group) = crew();
    let questions = |net: &Net| net.asked.iter().filter(|iq| iq.is("xmlns", "w:g2")).count();
    net.send("alice", &group, "patient");
    for round in 1..=4 {
        net.until("the service is asked for the group", |net| questions(net) == round);
        net.stop("alice");
        net.start("alice");
    }
    net.settle();
    assert_eq!(received(&net, "bob"), ["patient"]);
}

#[test]
fn messages_sent_together_distribute_the_sender_key_once() {
    let (mut net, group) = crew();
    for text in ["1", "2", "3"] {
        net.send("alice", &group, text);
    }
    net.settle();
    assert_eq!(received(&net, "bob"), ["1", "2", "3"]);
    assert_eq!(keys_in_last(&net, ALICE, &group), 0);
}

#[test]
fn reinstalled_member_gets_the_sender_key_with_the_next_message() {
    let (mut net, group) = crew();
    send(&mut net, "alice", &group, "first");
    net.world.reinstall(CAROL).unwrap();
    net.world.write_text(CAROL, ALICE, "new phone").unwrap();
    net.settle();
    send(&mut net, "alice", &group, "second");
    assert_eq!(keys_in_last(&net, ALICE, &group), 1, "Carol's phone");
    assert_eq!(phone_read(&net, CAROL), ["first", "second"]);
}

#[test]
fn sender_key_is_rotated_when_a_member_leaves_and_kept_when_one_joins() {
    let (mut net, group) = crew();
    send(&mut net, "alice", &group, "all three");
    net.world.change_participants(&group, None, MemberChange::Remove, &[BOB.into()]).unwrap();
    net.settle();
    send(&mut net, "alice", &group, "without bob");
    assert_eq!(keys_in_last(&net, ALICE, &group), 2, "a new key for Carol and the own phone");
    net.world.change_participants(&group, None, MemberChange::Add, &[BOB.into()]).unwrap();
    net.settle();
    send(&mut net, "alice", &group, "bob again");
    assert_eq!(keys_in_last(&net, ALICE, &group), 2, "only Bob's devices lack it");
    assert_eq!(received(&net, "bob"), ["all three", "bob again"]);
    assert_eq!(phone_read(&net, CAROL), ["all three", "without bob", "bob again"]);
}

#[test]
fn retry_receipt_gets_a_resend_to_that_device_alone() {
    let (mut net, group) = crew();
    send(&mut net, "alice", &group, "first");
    net.world.add_fault(fault(FaultKind::Corrupt, BOB));
    send(&mut net, "alice", &group, "corrupted");
    net.world.add_fault(fault(FaultKind::Corrupt, BOB));
    net.send("alice", BOB, "corrupted, too");
    net.settle();
    assert_eq!(received(&net, "bob"), ["first", "corrupted", "corrupted, too"]);
    assert_eq!(net.world.phone_messages(CAROL).unwrap().iter().filter(|it| it.copies > 1).count(), 0);
    assert_eq!(net.events("bob", "message.undecryptable").len(), 2);
}

#[test]
fn repeated_retry_receipt_gets_a_resend_in_a_new_session_from_its_keys() {
    let (mut net, _) = crew();
    net.send("alice", BOB, "hello");
    net.settle();
    net.world.add_fault(NewFault { count: Some(3), ..fault(FaultKind::Corrupt, BOB) });
    net.send("alice", BOB, "the fourth copy");
    net.pass(Duration::from_secs(30));
    assert_eq!(received(&net, "bob"), ["hello", "the fourth copy"]);
}

#[test]
fn retry_receipt_of_a_non_recipient_gets_no_resend() {
    let (mut net, _) = crew();
    let id = net.send("alice", BOB, "for bob alone");
    net.settle();
    let carol = Jid::parse(&net.world.phone(CAROL).unwrap().lid).unwrap();
    let retry = Node::new("receipt").attr("from", carol).attr("id", id.to_string()).attr("type", "retry");
    net.stanza("alice", retry.child(Node::new("retry").attr("count", "2")));
    net.settle();
    assert!(phone_read(&net, CAROL).is_empty());
}

#[test]
fn account_restored_from_a_backup_makes_new_sender_keys() {
    let (mut net, group) = crew();
    send(&mut net, "alice", &group, "before the backup");
    let backup = net.backup("alice");
    send(&mut net, "alice", &group, "after it");
    net.restore("alice", backup);
    net.pass(Duration::from_secs(30));
    send(&mut net, "alice", &group, "restored");
    assert_eq!(keys_in_last(&net, ALICE, &group), 4);
    assert_eq!(received(&net, "bob"), ["before the backup", "after it", "restored"]);
    assert!(net.events("bob", "message.undecryptable").is_empty());
}

#[test]
fn phash_mismatch_queries_device_lists_with_the_next_message() {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.linked("bob", BOB);
    net.world.add_fault(fault(FaultKind::StaleDevices, BOB));
    net.send("alice", BOB, "to the phone alone");
    net.settle();
    net.send("alice", BOB, "to both");
    net.settle();
    assert_eq!(received(&net, "bob"), ["to both"], "the acknowledgement told that a device was missed");
    assert_eq!(phone_read(&net, BOB), ["to the phone alone", "to both"]);
}

#[test]
fn message_to_a_group_that_we_are_not_in_fails_with_the_reason() {
    let (mut net, group) = crew();
    net.world.change_participants(&group, None, MemberChange::Remove, &[ALICE.into()]).unwrap();
    net.settle();
    let id = net.send("alice", &group, "let me in");
    net.settle();
    let failure = net.message("alice", &id).failure.map(|(code, _)| code);
    assert_eq!(failure.as_deref(), Some("group_not_found"));
}

#[test]
fn quote_in_a_group_names_its_author() {
    let (mut net, group) = crew();
    let id = net.world.write_text(CAROL, &group, "who said that?").unwrap();
    net.settle();
    net.quote("alice", &group, "Carol did", id.as_str());
    net.settle();
    let read = net.world.phone_messages(CAROL).unwrap();
    let quoted = read[0].context.clone().unwrap();
    assert_eq!((quoted.message_id, quoted.from), (id.to_string(), Some(CAROL.into())));
    assert_eq!(net.events("bob", "message.received")[1]["context"]["message_id"], id.as_str());
}

#[test]
fn message_overtaken_by_a_newer_sender_key_is_decrypted_after_a_retry_receipt() {
    let (mut net, group) = crew();
    net.world.add_fault(fault(FaultKind::Drop, BOB));
    send(&mut net, "alice", &group, "with the key, late");
    send(&mut net, "alice", &group, "behind it");
    assert_eq!(received(&net, "bob"), ["behind it"], "sent again with the key as it is now");
    net.cut("bob");
    net.pass(Duration::from_secs(120));
    assert_eq!(received(&net, "bob"), ["behind it", "with the key, late"]);
}

#[test]
fn message_from_an_unlisted_device_is_delivered_and_its_device_list_is_queried_once() {
    let (mut net, group) = crew();
    send(&mut net, "alice", &group, "hello");
    let asked = |net: &Net| {
        let from_alice = |device: &Option<String>| device.as_ref().is_some_and(|device| device.starts_with(ALICE));
        let questions = net.world.stanzas().filter(|log| log.direction == "received" && from_alice(&log.device));
        questions.filter(|log| log.stanza.contains("xmlns=\"usync\"")).count()
    };
    // The notification of Bob's new device is held back from Alice.
    net.world.add_fault(NewFault { count: Some(3), ..fault(FaultKind::Drop, ALICE) });
    net.linked("second", BOB);
    net.world.clear_faults();
    let before = asked(&net);
    for text in ["1", "2"] {
        net.send("second", &group, text);
    }
    net.settle();
    assert_eq!(received(&net, "alice"), ["1", "2"]);
    assert_eq!(asked(&net) - before, 1);
    send(&mut net, "alice", &group, "to the new one, too");
    assert_eq!(received(&net, "second"), ["to the new one, too"]);
}

/// Delivers outputs until this account has fetched prekeys.
fn until_prekeys_are_fetched(net: &mut Net, number: &str) {
    let asked = |net: &Net| {
        let of_account = |device: &Option<String>| device.as_ref().is_some_and(|device| device.starts_with(number));
        let last = net.world.stanzas().filter(|log| log.direction == "received" && of_account(&log.device)).last();
        last.is_some_and(|log| log.stanza.contains("<key><user"))
    };
    while !asked(net) {
        assert!(net.carry_one(), "prekeys were never fetched");
    }
}

fn notification(kind: &'static str, from: &str) -> Node {
    let from = Jid::parse(from).unwrap();
    Node::new("notification").attr("type", kind).attr("id", "N").attr("from", from)
}

#[test]
fn a_device_list_that_changes_while_a_message_waits_for_prekeys_does_not_fail_the_message() {
    let (mut net, _) = crew();
    let id = net.send("alice", BOB, "patience");
    until_prekeys_are_fetched(&mut net, ALICE);
    let lid = net.world.phone(BOB).unwrap().lid;
    net.stanza("alice", notification("devices", &lid));
    net.settle();
    assert_eq!(net.message("alice", &id).failure, None);
    assert_eq!(received(&net, "bob"), ["patience"]);
}

#[test]
fn phash_mismatch_of_one_message_does_not_fail_another() {
    let (mut net, _) = crew();
    send(&mut net, "alice", BOB, "hello");
    let swallow =
        NewFault { kind: FaultKind::Swallow, account: Some(ALICE.into()), count: Some(1), until: None, seed: 1 };
    net.world.add_fault(swallow);
    let first = net.send("alice", BOB, "on its way");
    let id = net.send("alice", CAROL, "patience");
    until_prekeys_are_fetched(&mut net, ALICE);
    let ack = Node::new("ack").attr("class", "message").attr("id", first.to_string()).attr("phash", "2:another");
    net.stanza("alice", ack.attr("from", Jid::pn(BOB)));
    net.settle();
    assert_eq!(net.message("alice", &id).failure, None);
    assert_eq!(phone_read(&net, CAROL), ["patience"]);
}

#[test]
fn repeated_changes_of_a_group_do_not_fail_a_queued_message() {
    let (mut net, group) = crew();
    let id = net.send("alice", &group, "patience");
    until_prekeys_are_fetched(&mut net, ALICE);
    for _ in 0..3 {
        net.stanza("alice", notification("w:gp2", &group));
        net.carry_one();
    }
    net.settle();
    assert_eq!(net.message("alice", &id).failure, None);
    assert_eq!(received(&net, "bob"), ["patience"]);
}

#[test]
fn resend_reaches_a_member_after_the_group_has_changed() {
    let (mut net, group) = crew();
    send(&mut net, "alice", &group, "first");
    net.world.add_fault(fault(FaultKind::Corrupt, BOB));
    net.send("alice", &group, "corrupted");
    net.stanza("alice", notification("w:gp2", &group));
    net.settle();
    assert_eq!(received(&net, "bob"), ["first", "corrupted"]);
}

#[test]
fn retry_receipts_with_a_constant_count_get_five_resends_at_most() {
    let (mut net, _) = crew();
    let id = net.send("alice", BOB, "once");
    net.settle();
    let lid = Jid::parse(&net.world.phone(BOB).unwrap().lid).unwrap().with_device(1);
    let sent = |net: &Net| {
        let again = |stanza: &str| stanza.starts_with("<message") && stanza.contains("count=");
        net.world.stanzas().filter(|log| log.direction == "received" && again(&log.stanza)).count()
    };
    for _ in 0..20 {
        let retry = Node::new("receipt").attr("from", &lid).attr("id", id.to_string()).attr("type", "retry");
        net.stanza("alice", retry.child(Node::new("retry").attr("count", "1")));
        net.settle();
    }
    assert_eq!(sent(&net), 5);
}

#[test]
fn each_change_of_a_group_is_one_event() {
    let (mut net, group) = crew();
    net.world.add_fault(NewFault { count: Some(5), ..fault(FaultKind::Duplicate, ALICE) });
    net.world.change_participants(&group, None, MemberChange::Remove, &[BOB.into()]).unwrap();
    net.world.change_participants(&group, None, MemberChange::Add, &[BOB.into()]).unwrap();
    net.world.change_participants(&group, None, MemberChange::Promote, &[ALICE.into()]).unwrap();
    net.settle();
    let changes = net.events("alice", "group.participants");
    let told: Vec<_> = changes.iter().map(|data| (data["change"].clone(), data["participants"][0].clone())).collect();
    let jid = |number: &str| serde_json::json!(format!("{number}@s.whatsapp.net"));
    let change = |tag: &str| serde_json::json!(tag);
    assert_eq!(told, [(change("remove"), jid(BOB)), (change("add"), jid(BOB)), (change("promote"), jid(ALICE))]);
    assert!(changes.iter().all(|data| data["by"] == jid(CAROL) && data["group"] == group));
    let made = net.events("alice", "group.updated");
    assert_eq!(
        (made.len(), made[0]["change"].clone(), made[0]["subject"].clone()),
        (1, change("create"), change("crew"))
    );
}

#[test]
fn a_member_who_is_added_while_device_lists_are_queried_gets_the_key_at_once() {
    const DAVE: &str = "15550004444";
    let (mut net, group) = crew();
    send(&mut net, "alice", &group, "before");
    net.world.create_phone(DAVE, Some("Dave")).unwrap();
    let changed = Node::new("notification").attr("id", "1").attr("type", "devices").attr("from", Jid::pn(BOB));
    net.stanza("alice", changed);
    net.world.change_participants(&group, None, MemberChange::Add, &[DAVE.into()]).unwrap();
    net.send("alice", &group, "after");
    net.settle();
    assert_eq!(phone_read(&net, DAVE), ["after"]);
    assert!(!net.counters.contains(&Counter::Resent), "it was readable at once");
}
