//! What a hostile service and a hostile peer do, and what Wharf does about it: a row of SECURITY.md each.
//!
//! The machine in the middle speaks the account's real connection: it reads, changes, drops and adds stanzas behind the Noise handshake, as
//! the service can. Peers encrypt for real.

mod addresses;
mod clients;
mod companions;
mod disk;
mod failures;
mod group_records;
mod random;
mod receipts;

use crate::net::Net;
use std::cell::RefCell;
use std::rc::Rc;
use wharf::wire::{Content, Jid, Node};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";
const MALLORY: &str = "15550009999";

/// Alice and Mallory as accounts, Bob as a phone that Alice knows.
fn town() -> Net {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.linked("mallory", MALLORY);
    net.world.create_phone(BOB, Some("Bob")).unwrap();
    net.world.write_text(BOB, ALICE, "hello").unwrap();
    net.settle();
    assert_eq!(texts(&net), ["hello"]);
    net
}

/// The texts that Alice has received.
fn texts(net: &Net) -> Vec<String> {
    let text = |data: &serde_json::Value| data["text"]["body"].as_str().unwrap_or_default().to_owned();
    net.events("alice", "message.received").iter().map(text).collect()
}

/// Bob's address as the service names it in stanzas to Alice, of this device.
fn bob(net: &Net, device: u16) -> Jid {
    let from = net.events("alice", "message.received")[0]["from_lid"].as_str().unwrap_or_default().to_owned();
    Jid::parse(&from).unwrap().with_device(device)
}

/// Replaces every message to Alice.
fn forge(net: &mut Net, change: impl Fn(Node) -> Node + 'static) {
    net.middle = Some(Box::new(move |name, node| {
        let is_hers = name == "alice" && node.tag == "message";
        vec![if is_hers { change(node) } else { node }]
    }));
}

/// Sets an attribute, or removes it.
fn set(mut node: Node, key: &'static str, value: Option<Jid>) -> Node {
    node.attrs.retain(|(name, _)| name != key);
    node.maybe(key, value)
}

fn without_child(mut node: Node, tag: &str) -> Node {
    if let Content::Nodes(children) = &mut node.content {
        children.retain(|child| child.tag != tag);
    }
    node
}

/// The message as one of this device.
fn claimed_by(node: Node, device: Jid) -> Node {
    let names = ["participant", "sender_pn", "sender_lid", "participant_pn", "participant_lid"];
    let node = names.into_iter().fold(node, |node, key| set(node, key, None));
    set(node, "from", Some(device))
}

/// Notes what Alice writes to the service from now on.
fn stanzas_of_alice(net: &Net) -> Vec<String> {
    let of_alice = |device: &Option<String>| device.as_ref().is_some_and(|device| device.starts_with(ALICE));
    let log = net.world.stanzas().filter(|log| log.direction == "received" && of_alice(&log.device));
    log.map(|log| log.stanza.clone()).collect()
}

/// A cell that the machine in the middle fills.
type Noted<T> = Rc<RefCell<T>>;
