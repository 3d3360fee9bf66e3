//! Receipts of somebody who is not in the conversation, and retry receipts for messages that do not exist.

use super::{ALICE, BOB, MALLORY, town};
use crate::net::Net;
use wharf::account::Counter;
use wharf::base::ids::MessageId;
use wharf::wire::{Jid, Node};

fn receipt(id: &MessageId, from: &Jid) -> Node {
    Node::new("receipt").attr("id", id.to_string()).attr("from", from).attr("t", "1800000000")
}

/// The phones' own receipts are lost.
fn without_receipts() -> Net {
    let mut net = town();
    net.middle = Some(Box::new(|_, node| if node.tag == "receipt" { Vec::new() } else { vec![node] }));
    net
}

fn read_by(net: &mut Net, id: &MessageId, from: &Jid) -> bool {
    net.stanza("alice", receipt(id, from).attr("type", "read"));
    net.events("alice", "message.status").iter().any(|data| data["status"] == "read")
}

#[test]
fn a_receipt_of_somebody_outside_the_conversation_changes_nothing() {
    let mut net = without_receipts();
    net.world.create_phone("15550007777", None).unwrap();
    let id = net.send("alice", "15550007777", "hello");
    net.settle();
    assert!(!read_by(&mut net, &id, &Jid::pn(MALLORY)));
    assert!(!read_by(&mut net, &id, &Jid::pn("15550006666")));
    assert!(read_by(&mut net, &id, &Jid::pn("15550007777")));
}

#[test]
fn a_receipt_of_somebody_outside_the_group_changes_nothing() {
    let mut net = without_receipts();
    let group = net.world.create_group("crew", BOB, &[ALICE.into()]).unwrap().id;
    net.settle();
    let id = net.send("alice", &group, "hello group");
    net.settle();
    let group = Jid::parse(&group).unwrap();
    let by = |jid: Jid| receipt(&id, &group).attr("participant", jid).attr("type", "read");
    net.stanza("alice", by(Jid::pn(MALLORY)));
    let read = |net: &Net| net.events("alice", "message.status").iter().any(|data| data["status"] == "read");
    assert!(!read(&net));
    net.stanza("alice", by(Jid::pn(BOB)));
    assert!(read(&net));
}

#[test]
fn retry_receipts_for_unknown_messages_do_not_renew_the_number_of_resends() {
    let mut net = town();
    let id = net.send("alice", BOB, "hello");
    net.settle();
    let retry = |id: &MessageId| {
        let retry = Node::new("retry").attr("v", "1").attr("count", 1u64).attr("id", id.to_string());
        receipt(id, &Jid::pn(BOB)).attr("type", "retry").child(retry)
    };
    let resends = |net: &Net| net.counters.iter().filter(|counter| **counter == Counter::Resent).count();
    for _ in 0..6 {
        net.stanza("alice", retry(&id));
    }
    assert_eq!(resends(&net), 5);
    for number in 0..10_050 {
        net.stanza("alice", retry(&MessageId::new(format!("UNKNOWN{number}"))));
    }
    net.stanza("alice", retry(&id));
    assert_eq!(resends(&net), 5);
}
