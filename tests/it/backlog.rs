//! Offline backlog, aggregated receipts, and the watchdogs for an unresponsive service.

use crate::net::Net;
use std::time::Duration;
use wharf::account::AccountState;
use wharf::account::commands::MessageStatus;
use wharf::sandbox::world::{FaultKind, NewFault};
use wharf::wire::{Jid, Node};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";
const CAROL: &str = "15550003333";

/// Alice's account and Bob's phone, with a session between them.
fn talking() -> Net {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.world.create_phone(BOB, None).unwrap();
    net.send("alice", BOB, "hello");
    net.world.write_text(BOB, ALICE, "hello").unwrap();
    net.settle();
    net
}

fn fault(net: &mut Net, kind: FaultKind, count: u32) {
    net.world.add_fault(NewFault { kind, account: Some(ALICE.into()), count: Some(count), until: None, seed: 7 });
}

fn received(net: &Net) -> usize {
    net.events("alice", "message.received").len() - 1
}

fn batch_requests(net: &Net) -> usize {
    net.world.stanzas().filter(|log| log.direction == "received" && log.stanza.contains("<offline_batch")).count()
}

fn states(net: &Net) -> Vec<String> {
    net.events("alice", "account.state").iter().map(|data| data["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn backlog_is_pulled_in_batches_to_its_end() {
    let mut net = talking();
    net.stop("alice");
    for at in 0..230 {
        net.world.write_text(BOB, ALICE, &format!("{at}")).unwrap();
    }
    let before = batch_requests(&net);
    fault(&mut net, FaultKind::Pull, 1);
    net.start("alice");
    net.settle();
    assert_eq!(received(&net), 230);
    assert!(batch_requests(&net) - before >= 3, "five come without a request, then at most 200 for each");
    net.world.write_text(BOB, ALICE, "live").unwrap();
    net.settle();
    assert_eq!(received(&net), 231);
}

/// The number of messages of each receipt that the account has sent.
fn told(net: &Net) -> Vec<usize> {
    let items = |receipt: &Node| receipt.find("list").map_or(0, |list| list.nodes().len());
    net.receipts.iter().map(|receipt| 1 + items(receipt)).collect()
}

#[test]
fn receipts_of_a_backlog_are_aggregated() {
    let mut net = talking();
    net.stop("alice");
    for at in 0..300 {
        net.world.write_text(BOB, ALICE, &format!("{at}")).unwrap();
    }
    net.receipts.clear();
    net.start("alice");
    net.settle();
    assert_eq!(told(&net), [256, 44]);
    net.world.write_text(BOB, ALICE, "live").unwrap();
    net.settle();
    assert_eq!(told(&net), [256, 44, 1]);
    assert_eq!(received(&net), 301);
}

#[test]
fn receipts_lost_with_a_connection_are_sent_on_the_next_one() {
    let mut net = talking();
    net.stop("alice");
    for at in 0..10 {
        net.world.write_text(BOB, ALICE, &format!("{at}")).unwrap();
    }
    net.receipts.clear();
    net.start("alice");
    net.until("the backlog is there", |net| received(net) == 10);
    assert!(told(&net).is_empty(), "more may come");
    net.cut("alice");
    net.pass(Duration::from_secs(120));
    assert_eq!(told(&net), [10]);
    assert_eq!(received(&net), 10);
}

#[test]
fn aggregated_receipt_counts_for_each_member() {
    let mut net = talking();
    net.world.create_phone(CAROL, None).unwrap();
    let group = net.world.create_group("crew", ALICE, &[BOB.into(), CAROL.into()]).unwrap().id;
    let id = net.send("alice", &group, "to all");
    net.until("it is sent", |net| net.message("alice", &id).status == MessageStatus::Sent);
    let user = |number: &str, kind: Option<&str>| {
        Node::new("user")
            .attr("jid", Jid::parse(&format!("{number}@s.whatsapp.net")).unwrap())
            .maybe("type", kind.map(str::to_owned))
            .attr("t", 1_760_000_000_u64)
    };
    let participants = Node::new("participants").attr("key", id.as_str().to_owned());
    let receipt = Node::new("receipt").attr("id", id.as_str().to_owned()).attr("from", Jid::parse(&group).unwrap());
    let each = participants.children([user(BOB, Some("read")), user(CAROL, None)]);
    net.stanza("alice", receipt.child(each));
    let record = net.message("alice", &id);
    let mut reached: Vec<_> = record.recipients.iter().map(|it| (it.jid.clone(), it.status)).collect();
    reached.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [(BOB, MessageStatus::Read), (CAROL, MessageStatus::Delivered)];
    assert_eq!(reached, expected.map(|(number, status)| (format!("{number}@s.whatsapp.net"), status)));
}

#[test]
fn backlog_is_pulled_again_on_every_connection() {
    let mut net = talking();
    for round in 1..=3 {
        net.stop("alice");
        for at in 0..20 {
            net.world.write_text(BOB, ALICE, &format!("{at}")).unwrap();
        }
        fault(&mut net, FaultKind::Pull, 1);
        net.start("alice");
        net.settle();
        assert_eq!(received(&net), round * 20);
    }
}

#[test]
fn missing_backlog_makes_the_account_unresponsive_until_a_reconnect_delivers_it() {
    let mut net = talking();
    net.stop("alice");
    net.world.write_text(BOB, ALICE, "waiting").unwrap();
    fault(&mut net, FaultKind::Hold, 2);
    net.start("alice");
    net.pass(Duration::from_secs(62));
    assert_eq!(net.state("alice"), AccountState::Unresponsive, "{:?}", states(&net));
    let reason = net.accounts["alice"].local.router.view().reason.clone();
    assert_eq!(reason.as_deref(), Some("the service holds messages that do not arrive"));
    net.pass(Duration::from_secs(120));
    assert_eq!((net.state("alice"), received(&net)), (AccountState::Online, 1));
}

#[test]
fn unacknowledged_messages_are_written_again_after_a_reconnect() {
    let mut net = talking();
    fault(&mut net, FaultKind::Swallow, 1);
    let id = net.send("alice", BOB, "anybody there?");
    net.pass(Duration::from_secs(61));
    assert!(states(&net).contains(&"unresponsive".to_owned()), "{:?}", states(&net));
    net.pass(Duration::from_secs(10));
    assert_eq!(net.state("alice"), AccountState::Online);
    assert!(net.message("alice", &id).status >= MessageStatus::Sent);
    let read = net.world.phone_messages(BOB).unwrap();
    assert_eq!(read.iter().filter(|message| message.text.as_deref() == Some("anybody there?")).count(), 1);
}

#[test]
fn single_lost_message_is_written_again_on_the_same_connection() {
    let mut net = talking();
    fault(&mut net, FaultKind::Swallow, 1);
    let lost = net.send("alice", BOB, "lost");
    net.settle();
    net.pass(Duration::from_secs(5));
    net.send("alice", BOB, "acknowledged");
    net.pass(Duration::from_secs(60));
    assert!(net.message("alice", &lost).status >= MessageStatus::Sent);
    assert!(!states(&net).contains(&"unresponsive".to_owned()));
}

#[test]
fn message_that_is_never_acknowledged_fails_with_outcome_unknown() {
    let mut net = talking();
    fault(&mut net, FaultKind::Swallow, 100);
    let id = net.send("alice", BOB, "into the void");
    net.pass(Duration::from_secs(400));
    let record = net.message("alice", &id);
    assert_eq!((record.status, record.failure.unwrap().0), (MessageStatus::Failed, "outcome_unknown".to_owned()));
}
