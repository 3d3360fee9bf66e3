//! A status: encrypted once, for the recipients that the bot names.

use crate::net::Net;
use wharf::account::commands::{Groups, MessageStatus};
use wharf::sandbox::world::{FaultKind, NewFault};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";
const CAROL: &str = "15550003333";
const STATUS: &str = "status@broadcast";

/// Alice and Bob as accounts, Carol as a phone.
fn friends() -> Net {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.linked("bob", BOB);
    net.world.create_phone(CAROL, Some("Carol")).unwrap();
    net.settle();
    net
}

fn tell(net: &mut Net, body: &str, readers: &[&str]) -> MessageStatus {
    let id = net.status("alice", body, readers);
    net.settle();
    net.message("alice", &id).status
}

fn seen_by_bob(net: &Net) -> Vec<String> {
    let events = net.events("bob", "message.received").into_iter().filter(|data| data["chat"] == STATUS);
    events.map(|data| data["text"]["body"].as_str().unwrap().to_owned()).collect()
}

fn seen_by_phone(net: &Net, number: &str) -> Vec<String> {
    let read = net.world.phone_messages(number).unwrap();
    read.iter().filter(|message| message.chat == STATUS).filter_map(|message| message.text.clone()).collect()
}

/// Of Alice's last status: the number of targets, of targets with a separate ciphertext, and whether it has an addressing mode.
fn last_stanza(net: &Net) -> (usize, usize, bool) {
    let sent = net.world.stanzas().filter(|log| log.direction == "received" && log.stanza.starts_with("<message"));
    let last = sent.filter(|log| log.stanza.contains("to=\"status@broadcast\"")).last().unwrap();
    let keys = last.stanza.matches("type=\"pkmsg\"").count() + last.stanza.matches("type=\"msg\"").count();
    (
        last.stanza.matches("<to jid=").count(),
        keys,
        last.stanza.contains("phash") || last.stanza.contains("addressing_mode"),
    )
}

#[test]
fn status_is_read_by_its_recipients_and_our_own_phone() {
    let mut net = friends();
    assert!(tell(&mut net, "for both", &[BOB, CAROL]) >= MessageStatus::Sent);
    assert_eq!(seen_by_bob(&net), ["for both"]);
    assert_eq!(seen_by_phone(&net, CAROL), ["for both"]);
    assert_eq!(seen_by_phone(&net, ALICE), ["for both"]);
    assert!(!last_stanza(&net).2, "a status has neither a hash nor a way of addressing");
}

#[test]
fn status_key_is_distributed_once_and_rotated_when_a_reader_is_left_out() {
    let mut net = friends();
    tell(&mut net, "first", &[BOB, CAROL]);
    assert_eq!(last_stanza(&net), (6, 4, false), "four devices get the key, two readers are named");
    tell(&mut net, "second", &[BOB, CAROL]);
    assert_eq!(last_stanza(&net), (2, 0, false), "every device has the key");
    tell(&mut net, "third", &[BOB]);
    assert_eq!(last_stanza(&net), (4, 3, false), "a new key, without Carol");
    assert_eq!(seen_by_bob(&net), ["first", "second", "third"]);
    assert_eq!(seen_by_phone(&net, CAROL), ["first", "second"]);
}

#[test]
fn retry_receipt_for_a_status_gets_a_resend_to_that_device() {
    let mut net = friends();
    tell(&mut net, "first", &[BOB, CAROL]);
    let fault = NewFault { kind: FaultKind::Corrupt, account: Some(BOB.into()), count: Some(1), until: None, seed: 5 };
    net.world.add_fault(fault);
    tell(&mut net, "second", &[BOB, CAROL]);
    assert_eq!(seen_by_bob(&net), ["first", "second"]);
    assert_eq!(seen_by_phone(&net, CAROL), ["first", "second"]);
}

#[test]
fn changed_identity_of_a_contact_rotates_the_status_key() {
    let mut net = friends();
    tell(&mut net, "first", &[BOB, CAROL]);
    net.world.reinstall(CAROL).unwrap();
    net.world.write_text(CAROL, ALICE, "new phone").unwrap();
    net.settle();
    tell(&mut net, "second", &[BOB, CAROL]);
    assert_eq!(last_stanza(&net), (6, 4, false), "every device gets a new key");
    assert_eq!(seen_by_phone(&net, CAROL), ["first", "second"]);
}

#[test]
fn requested_rotation_gives_the_next_status_a_new_key() {
    let mut net = friends();
    tell(&mut net, "first", &[BOB]);
    let group = "status@broadcast".parse().unwrap();
    net.call("alice", |reply| Groups::RotateSenderKey { group, reply }.into());
    tell(&mut net, "second", &[BOB]);
    assert_eq!(last_stanza(&net), (4, 3, false));
    assert_eq!(seen_by_bob(&net), ["first", "second"]);
}

#[test]
fn status_without_reachable_recipients_fails() {
    let mut net = friends();
    assert_eq!(tell(&mut net, "hello?", &["15559999999"]), MessageStatus::Failed);
}
