//! An invented companion of a contact.

use super::{ALICE, bob, claimed_by, forge, texts, town, without_child};

#[test]
fn a_companion_without_a_device_identity_is_not_believed() {
    let mut net = town();
    let companion = bob(&net, 7);
    forge(&mut net, move |node| without_child(claimed_by(node, companion.clone()), "device-identity"));
    net.send("mallory", ALICE, "I am Bob");
    net.settle();
    assert_eq!(texts(&net), ["hello"]);
    assert!(!net.events("alice", "message.undecryptable").is_empty(), "the message is reported");
}

#[test]
fn a_companion_that_another_phone_vouched_for_is_not_believed() {
    let mut net = town();
    let companion = bob(&net, 7);
    forge(&mut net, move |node| claimed_by(node, companion.clone()));
    net.send("mallory", ALICE, "I am Bob");
    net.settle();
    assert_eq!(texts(&net), ["hello"]);
}

#[test]
fn a_companion_of_its_own_phone_is_believed() {
    let mut net = town();
    net.send("mallory", ALICE, "I am Mallory");
    net.settle();
    assert_eq!(texts(&net), ["hello", "I am Mallory"]);
}

/// The phone of a companion that wrote first is known from then on.
#[test]
fn a_second_companion_of_a_phone_that_never_wrote_needs_the_same_phone() {
    let mut net = town();
    net.send("mallory", ALICE, "I am Mallory");
    net.settle();
    net.linked("eve", "15550008888");
    let data = net.events("alice", "message.received");
    let mallory = wharf::wire::Jid::parse(data[1]["from_lid"].as_str().unwrap()).unwrap().with_device(9);
    forge(&mut net, move |node| claimed_by(node, mallory.clone()));
    net.send("eve", ALICE, "I am Mallory too");
    net.settle();
    assert_eq!(texts(&net), ["hello", "I am Mallory"]);
}
