//! A status: encrypted once, for the readers that the bot names.

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

/// The targets of Alice's last status, those with a key of their own, and whether it says how it was addressed.
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
fn a_status_is_read_by_those_it_names_and_by_our_own_phone() {
    let mut net = friends();
    assert!(tell(&mut net, "for both", &[BOB, CAROL]) >= MessageStatus::Sent);
    assert_eq!(seen_by_bob(&net), ["for both"]);
    assert_eq!(seen_by_phone(&net, CAROL), ["for both"]);
    assert_eq!(seen_by_phone(&net, ALICE), ["for both"]);
    assert!(!last_stanza(&net).2, "a status has neither a hash nor a way of addressing");
}

#[test]
fn the_key_goes_once_to_each_reader_and_who_is_left_out_cannot_read_the_next() {
    let mut net = friends();
    tell(&mut net, "first", &[BOB, CAROL]);
    assert_eq!(last_stanza(&net), (6, 4, false), "four devices get the key, two readers are named");
    tell(&mut net, "second", &[BOB, CAROL]);
    assert_eq!(last_stanza(&net), (2, 0, false), "everybody has the key");
    tell(&mut net, "third", &[BOB]);
    assert_eq!(last_stanza(&net), (4, 3, false), "a new key, without Carol");
    assert_eq!(seen_by_bob(&net), ["first", "second", "third"]);
    assert_eq!(seen_by_phone(&net, CAROL), ["first", "second"]);
}

#[test]
fn a_status_that_could_not_be_read_is_sent_again_to_that_device() {
    let mut net = friends();
    tell(&mut net, "first", &[BOB, CAROL]);
    let fault = NewFault { kind: FaultKind::Corrupt, account: Some(BOB.into()), count: Some(1), until: None, seed: 5 };
    net.world.add_fault(fault);
    tell(&mut net, "second", &[BOB, CAROL]);
    assert_eq!(seen_by_bob(&net), ["first", "second"]);
    assert_eq!(seen_by_phone(&net, CAROL), ["first", "second"]);
}

#[test]
fn a_contact_with_a_new_identity_makes_a_new_status_key() {
    let mut net = friends();
    tell(&mut net, "first", &[BOB, CAROL]);
    net.world.reinstall(CAROL).unwrap();
    net.world.write_text(CAROL, ALICE, "new phone").unwrap();
    net.settle();
    tell(&mut net, "second", &[BOB, CAROL]);
    assert_eq!(last_stanza(&net), (6, 4, false), "everybody gets a new key");
    assert_eq!(seen_by_phone(&net, CAROL), ["first", "second"]);
}

#[test]
fn on_request_the_next_status_has_a_new_key() {
    let mut net = friends();
    tell(&mut net, "first", &[BOB]);
    let group = "status@broadcast".parse().unwrap();
    net.call("alice", |reply| Groups::RotateSenderKey { group, reply }.into());
    tell(&mut net, "second", &[BOB]);
    assert_eq!(last_stanza(&net), (4, 3, false));
    assert_eq!(seen_by_bob(&net), ["first", "second"]);
}

#[test]
fn a_status_that_nobody_can_read_has_failed() {
    let mut net = friends();
    assert_eq!(tell(&mut net, "hello?", &["15559999999"]), MessageStatus::Failed);
}
