//! Malformed members of a group.

use super::{ALICE, BOB, texts, town};
use wharf::account::AccountState;
use wharf::storage::kind;
use wharf::wire::{Content, Jid, Node, Server};

/// Every group gets a member that is no address.
fn with_a_malformed_member(mut node: Node) -> Node {
    if let Content::Nodes(children) = &mut node.content {
        let is_group = node.tag == "group";
        let all = std::mem::take(children).into_iter().map(with_a_malformed_member);
        *children = all.collect();
        if is_group {
            children.push(Node::new("participant").attr("jid", Jid::new("no user:1@", Server::Lid)));
        }
    }
    node
}

#[test]
fn a_malformed_member_is_not_stored_and_the_account_loads_again() {
    let mut net = town();
    let group = net.world.create_group("crew", BOB, &[ALICE.into()]).unwrap().id;
    net.settle();
    net.middle = Some(Box::new(|_, node| vec![with_a_malformed_member(node)]));
    net.send("alice", &group, "hello group");
    net.settle();
    net.middle = None;
    net.restart("alice");
    net.until("the account is online", |net| net.state("alice") == AccountState::Online);
    net.settle();
    net.world.write_text(BOB, ALICE, "still there?").unwrap();
    net.settle();
    assert_eq!(texts(&net).last().unwrap(), "still there?");
}

#[test]
fn a_group_record_that_cannot_be_read_is_queried_again() {
    let mut net = town();
    let group = net.world.create_group("crew", BOB, &[ALICE.into()]).unwrap().id;
    net.settle();
    net.send("alice", &group, "first");
    net.settle();
    net.overwrite("alice", kind::GROUP, &group, b"\x01{\"members\":[{\"jid\":\"no user:1@\"}]}");
    net.restart("alice");
    net.until("the account is online", |net| net.state("alice") == AccountState::Online);
    net.send("alice", &group, "second");
    net.settle();
    let read: Vec<_> = net.world.phone_messages(BOB).unwrap().iter().filter_map(|it| it.text.clone()).collect();
    assert!(read.contains(&"second".to_owned()), "{read:?}");
}
