//! Every cause of "waiting for this message" on our side: in the end the message is decrypted, once.
//!
//! `docs/coverage.md` has the table of causes.

use crate::net::Net;
use std::time::Duration;
use wharf::account::Counter;
use wharf::sandbox::world::{FaultKind, NewFault};
use wharf::storage::kind;
use wharf::wire::{Jid, Node};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";
const CAROL: &str = "15550003333";

/// Alice and Bob as accounts and Carol's phone, with sessions between all of them.
fn talking() -> Net {
    let mut net = strangers();
    for (from, to) in [("alice", BOB), ("bob", ALICE), ("alice", CAROL), ("bob", CAROL)] {
        net.send(from, to, "hello");
        net.settle();
    }
    for to in [ALICE, BOB] {
        net.world.write_text(CAROL, to, "hello").unwrap();
        net.settle();
    }
    net
}

fn strangers() -> Net {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.linked("bob", BOB);
    net.world.create_phone(CAROL, Some("Carol")).unwrap();
    net.settle();
    net
}

/// Deletes all records of a kind from the account.
fn lose(net: &mut Net, name: &'static str, kind: u8) {
    let left = net.backup(name).into_iter().filter(|(key, _)| key[16] != kind).collect();
    net.start_copy(name, left);
    net.settle();
}

fn fault(net: &mut Net, kind: FaultKind, account: &str, count: u32) {
    net.world.add_fault(NewFault { kind, account: Some(account.into()), count: Some(count), until: None, seed: 11 });
}

/// Bob and Carol write to Alice: she reads both, once.
fn alice_reads(net: &mut Net) {
    net.send("bob", ALICE, "from bob");
    net.world.write_text(CAROL, ALICE, "from carol").unwrap();
    net.settle();
    for text in ["from bob", "from carol"] {
        assert_eq!(read(net, "alice", text), 1, "{text}");
    }
}

/// Alice writes to Bob and Carol: all their devices read it, once.
fn alice_is_read(net: &mut Net) {
    for number in [BOB, CAROL] {
        net.send("alice", number, "from alice");
    }
    net.settle();
    assert_eq!(read(net, "bob", "from alice"), 1);
    for number in [BOB, CAROL] {
        assert_eq!(phone_read(net, number, "from alice"), 1, "{number}");
    }
}

fn read(net: &Net, name: &str, text: &str) -> usize {
    net.events(name, "message.received").iter().filter(|data| data["text"]["body"] == text).count()
}

fn phone_read(net: &Net, number: &str, text: &str) -> usize {
    net.world.phone_messages(number).unwrap().iter().filter(|message| message.text.as_deref() == Some(text)).count()
}

fn counted(net: &Net, counter: Counter) -> usize {
    net.counters.iter().filter(|counted| **counted == counter).count()
}

#[test]
fn our_sessions_are_lost() {
    let mut net = talking();
    lose(&mut net, "alice", kind::SESSION.code());
    alice_reads(&mut net);
    assert_eq!(net.events("alice", "message.undecryptable").len(), 2, "one event for each, and then the message");
    let mut net = talking();
    lose(&mut net, "alice", kind::SESSION.code());
    alice_is_read(&mut net);
}

#[test]
fn the_peers_sessions_are_lost() {
    let mut net = talking();
    lose(&mut net, "bob", kind::SESSION.code());
    alice_is_read(&mut net);
    alice_reads(&mut net);
}

#[test]
fn a_members_sender_key_is_lost() {
    let mut net = talking();
    let group = net.world.create_group("crew", CAROL, &[ALICE.into(), BOB.into()]).unwrap().id;
    net.settle();
    net.send("bob", &group, "with the key");
    net.world.write_text(CAROL, &group, "with a key too").unwrap();
    net.settle();
    lose(&mut net, "alice", kind::SENDER_KEY.code());
    net.send("bob", &group, "from bob");
    net.world.write_text(CAROL, &group, "from carol").unwrap();
    net.settle();
    for text in ["from bob", "from carol"] {
        assert_eq!(read(&net, "alice", text), 1, "{text}");
    }
}

#[test]
fn our_own_sender_key_is_lost() {
    let mut net = talking();
    let group = net.world.create_group("crew", CAROL, &[ALICE.into(), BOB.into()]).unwrap().id;
    net.settle();
    net.send("alice", &group, "first");
    net.settle();
    lose(&mut net, "alice", kind::OWN_SENDER_KEY.code());
    net.send("alice", &group, "second");
    net.settle();
    assert_eq!((read(&net, "bob", "second"), phone_read(&net, CAROL, "second")), (1, 1));
}

#[test]
fn the_prekey_that_a_first_message_names_is_gone() {
    let mut net = strangers();
    lose(&mut net, "alice", kind::PREKEY_BLOCK.code());
    alice_reads(&mut net);
    assert!(counted(&net, Counter::RetrySent) >= 2);
}

#[test]
fn the_peer_was_restored_from_a_backup() {
    let mut net = talking();
    let old = net.backup("bob");
    for text in ["1", "2", "3"] {
        net.send("alice", BOB, text);
        net.send("bob", ALICE, text);
        net.settle();
    }
    net.restore("bob", old);
    net.settle();
    alice_is_read(&mut net);
    alice_reads(&mut net);
}

#[test]
fn we_were_restored_from_a_backup() {
    let mut net = talking();
    let old = net.backup("alice");
    for text in ["1", "2", "3"] {
        net.send("alice", BOB, text);
        net.send("bob", ALICE, text);
        net.settle();
    }
    net.restore("alice", old);
    net.settle();
    alice_reads(&mut net);
    alice_is_read(&mut net);
}

#[test]
fn the_peers_identity_changes_with_a_notification() {
    let mut net = talking();
    net.world.reinstall(CAROL).unwrap();
    net.settle();
    assert_eq!(net.events("alice", "identity.changed").len(), 1);
    alice_is_read(&mut net);
    alice_reads(&mut net);
    assert_eq!(net.events("alice", "identity.changed").len(), 1, "once is enough");
    assert!(net.events("alice", "message.undecryptable").is_empty());
}

#[test]
fn the_peers_identity_changes_without_a_notification() {
    let mut net = talking();
    fault(&mut net, FaultKind::Drop, ALICE, 1);
    net.world.reinstall(CAROL).unwrap();
    net.settle();
    alice_is_read(&mut net);
    assert_eq!(net.events("alice", "identity.changed").len(), 1);
    let mut net = talking();
    fault(&mut net, FaultKind::Drop, ALICE, 1);
    net.world.reinstall(CAROL).unwrap();
    net.settle();
    alice_reads(&mut net);
}

#[test]
fn messages_are_reordered() {
    let mut net = talking();
    for _ in 0..3 {
        fault(&mut net, FaultKind::Reorder, ALICE, 1);
    }
    alice_reads(&mut net);
}

#[test]
fn messages_are_duplicated() {
    let mut net = talking();
    fault(&mut net, FaultKind::Duplicate, ALICE, 4);
    alice_reads(&mut net);
    alice_is_read(&mut net);
}

#[test]
fn ciphertexts_are_corrupted_up_to_four_times() {
    for times in 1..=4 {
        let mut net = talking();
        fault(&mut net, FaultKind::Corrupt, ALICE, times);
        net.world.write_text(CAROL, ALICE, "battered").unwrap();
        net.settle();
        assert_eq!(read(&net, "alice", "battered"), 1, "{times}");
        assert_eq!(net.events("alice", "message.undecryptable").len(), 1, "{times}: one event, however often it fails");
    }
}

#[test]
fn new_message_with_the_counter_of_an_old_one_gets_a_retry_receipt() {
    let mut net = talking();
    net.world.write_text(CAROL, ALICE, "earlier").unwrap();
    net.settle();
    let earlier = net.last_message.clone().unwrap();
    let damaged = Node::new("message")
        .attr("from", earlier.require_jid("from").unwrap())
        .attr("id", "3EB0DAMAGED")
        .attr("type", "text")
        .attr("t", "1760000000")
        .child(earlier.find("enc").unwrap().clone());
    net.stanza("alice", damaged);
    assert_eq!(counted(&net, Counter::RetrySent), 1);
    net.stanza("alice", earlier);
    assert_eq!(counted(&net, Counter::RetrySent), 1, "a copy is not");
}

#[test]
fn the_service_gives_out_no_one_time_prekeys() {
    let mut net = strangers();
    fault(&mut net, FaultKind::EmptyPrekeys, ALICE, 10);
    alice_reads(&mut net);
    assert!(net.events("alice", "message.undecryptable").is_empty());
}

#[test]
fn retry_receipts_beyond_the_limit_get_no_resend() {
    let mut net = talking();
    let id = net.send("alice", CAROL, "once more");
    net.settle();
    let lid = net.world.phone(CAROL).unwrap().lid;
    let retry = |count: u64| {
        let retry = Node::new("retry").attr("v", "1").attr("count", count).attr("id", id.to_string());
        let from = Jid::parse(&lid).unwrap();
        Node::new("receipt").attr("id", id.to_string()).attr("type", "retry").attr("from", from).child(retry)
    };
    for count in [6, 7, 8] {
        net.stanza("alice", retry(count));
        net.settle();
    }
    assert_eq!(counted(&net, Counter::Resent), 0);
    assert_eq!(counted(&net, Counter::RetryRefused), 3);
}

#[test]
fn retry_receipt_of_an_unlisted_device_without_keys_gets_no_resend() {
    let mut net = talking();
    let id = net.send("alice", CAROL, "for you");
    net.settle();
    let device = Jid::parse(&net.world.phone(CAROL).unwrap().lid).unwrap().with_device(77);
    let retry = Node::new("retry").attr("v", "1").attr("count", "1").attr("id", id.to_string());
    let receipt = Node::new("receipt").attr("id", id.to_string()).attr("type", "retry");
    net.stanza("alice", receipt.attr("from", device).child(retry));
    net.settle();
    assert_eq!((counted(&net, Counter::Resent), counted(&net, Counter::RetryRefused)), (0, 1));
}

#[test]
fn retry_receipt_is_answered_after_a_crash_during_the_fetch_of_prekeys() {
    let mut net = talking();
    fault(&mut net, FaultKind::Corrupt, ALICE, 1);
    net.send("bob", ALICE, "at the second attempt");
    net.until("a retry receipt is sent", |net| counted(net, Counter::RetrySent) == 1);
    let without_sessions = net.backup("bob").into_iter().filter(|(key, _)| key[16] != kind::SESSION.code()).collect();
    net.start_copy("bob", without_sessions);
    let is_asked =
        |iq: &Node| iq.find("key").and_then(|key| key.find("user")).is_some_and(|user| user.is("reason", "retry"));
    net.until("bob asks for prekeys", |net| net.asked.iter().any(is_asked));
    net.restart("bob");
    net.settle();
    assert_eq!(read(&net, "alice", "at the second attempt"), 1);
}

#[test]
fn resend_with_a_newer_sender_key_waits_for_group_messages_under_way() {
    let mut net = talking();
    let group = net.world.create_group("crew", CAROL, &[ALICE.into(), BOB.into()]).unwrap().id;
    let first = net.send("alice", &group, "first");
    net.settle();
    net.world.reinstall(CAROL).unwrap();
    net.settle();
    fault(&mut net, FaultKind::Swallow, ALICE, 1);
    net.send("alice", &group, "second");
    net.settle();
    let carol = Jid::parse(&net.world.phone(CAROL).unwrap().lid).unwrap();
    let retry = Node::new("retry").attr("v", "1").attr("count", "1").attr("id", first.to_string());
    let receipt = Node::new("receipt").attr("id", first.to_string()).attr("type", "retry").child(retry);
    net.stanza("alice", receipt.attr("from", Jid::parse(&group).unwrap()).attr("participant", carol));
    net.pass(Duration::from_secs(90));
    assert_eq!(phone_read(&net, CAROL, "first"), 1, "it is sent again in the end");
    assert_eq!(phone_read(&net, CAROL, "second"), 1);
}

#[test]
fn waiting_retry_receipt_survives_a_crash() {
    let mut net = talking();
    let group = net.world.create_group("crew", CAROL, &[ALICE.into(), BOB.into()]).unwrap().id;
    net.send("alice", &group, "with the key");
    net.settle();
    fault(&mut net, FaultKind::Corrupt, BOB, 1);
    net.send("alice", &group, "first");
    net.until("a retry receipt is sent", |net| counted(net, Counter::RetrySent) == 1);
    fault(&mut net, FaultKind::Swallow, ALICE, 1);
    net.send("alice", &group, "second");
    net.pass(Duration::from_secs(2));
    assert_eq!(read(&net, "bob", "first"), 0, "the second is on its way");
    net.restart("alice");
    net.settle();
    assert_eq!((read(&net, "bob", "first"), read(&net, "bob", "second")), (1, 1));
}

#[test]
fn resend_stays_queued_until_it_is_acknowledged() {
    let mut net = talking();
    fault(&mut net, FaultKind::Corrupt, ALICE, 1);
    net.send("bob", ALICE, "at the second attempt");
    while counted(&net, Counter::RetrySent) == 0 {
        assert!(net.carry_one(), "no retry receipt was sent");
    }
    fault(&mut net, FaultKind::Swallow, BOB, 1);
    net.pass(Duration::from_secs(2));
    assert_eq!(read(&net, "alice", "at the second attempt"), 0, "what is sent again is lost");
    net.restart("bob");
    net.settle();
    assert_eq!(read(&net, "alice", "at the second attempt"), 1);
    assert!(net.events("bob", "message.status").iter().all(|data| data["status"] != "failed"));
}
