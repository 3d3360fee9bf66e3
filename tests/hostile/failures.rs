//! Peers whose messages cannot be decrypted.

use super::{ALICE, BOB, texts, town};
use crate::net::Net;
use wharf::account::Counter;
use wharf::wire::{Jid, Node, Server};

/// Garbage under the ids `0..count`, from as many senders as there are remainders.
fn garbage(senders: u64, count: u64, of: impl Fn(u64) -> Jid) -> Vec<Node> {
    let message = |number: u64| {
        let enc = Node::new("enc").attr("v", "2").attr("type", "msg").bytes(forged(number));
        Node::new("message")
            .attr("from", of(number % senders))
            .attr("id", format!("FORGED{number}"))
            .attr("type", "text")
            .attr("t", "1800000000")
            .child(enc)
    };
    (0..count).map(message).collect()
}

/// A well-formed Signal message with a ratchet key that no state has, and a counter at the jump limit.
fn forged(number: u64) -> Vec<u8> {
    let mut message = vec![0x33, 0x0a, 0x21, 0x05];
    message.extend([7; 24]);
    message.extend(number.to_be_bytes());
    message.extend([0x10, 0xce, 0x0f, 0x18, 0x00, 0x22, 0x10]);
    message.extend([9; 16 + 8]);
    message
}

fn arrive(net: &mut Net, nodes: Vec<Node>) {
    nodes.into_iter().for_each(|node| net.stanza("alice", node));
    net.settle();
}

#[test]
fn garbage_of_strangers_costs_a_bounded_number_of_receipts_keys_and_events() {
    let mut net = town();
    let strangers = |number: u64| Jid::new((900_000 + number).to_string(), Server::Lid);
    arrive(&mut net, garbage(50, 3000, strangers));
    let retries: Vec<&Node> = net.receipts.iter().filter(|receipt| receipt.is("type", "retry")).collect();
    let (receipts, keys) = (retries.len(), retries.iter().filter(|retry| retry.find("keys").is_some()).count());
    let events = net.events("alice", "message.undecryptable").len();
    assert!((1..=256).contains(&receipts), "{receipts} retry receipts");
    assert!((1..=64).contains(&keys), "{keys} of them with keys");
    assert!((1..=256).contains(&events), "{events} events");
    let ignored = net.counters.iter().filter(|counter| **counter == Counter::Ignored).count();
    assert_eq!(receipts + ignored, 3000);
}

#[test]
fn known_contact_is_heard_while_strangers_send_garbage() {
    let mut net = town();
    arrive(&mut net, garbage(3000, 3000, |number| Jid::new((900_000 + number).to_string(), Server::Lid)));
    net.world.create_phone("15550007777", None).unwrap();
    for (from, text) in [(BOB, "from Bob"), ("15550007777", "from a stranger who means it")] {
        net.world.write_text(from, ALICE, text).unwrap();
        net.settle();
        assert_eq!(texts(&net).last().unwrap(), text);
    }
}

#[test]
fn a_contact_whose_messages_are_forged_is_heard_again() {
    let mut net = town();
    let bob = super::bob(&net, 0);
    arrive(&mut net, garbage(1, 1000, |_| bob.clone()));
    let receipts = net.receipts.iter().filter(|receipt| receipt.is("type", "retry")).count();
    assert!((1..=256).contains(&receipts), "{receipts} retry receipts");
    assert!(net.counters.contains(&Counter::Ignored));
    net.world.write_text(BOB, ALICE, "it is me").unwrap();
    net.settle();
    assert_eq!(texts(&net).last().unwrap(), "it is me");
}
