//! Stanzas that are malformed, unknown, or meet a corrupt record; and commands under way when the connection drops.

use crate::net::Net;
use wharf::account::commands::{Connection, LinkingError, MessageStatus};
use wharf::account::{AccountError, AccountState, Counter, LinkCode};
use wharf::storage::kind;
use wharf::wire::{Jid, Node};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";

fn online() -> Net {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.world.create_phone(BOB, Some("Bob")).unwrap();
    net
}

fn counted(net: &Net, counter: Counter) -> usize {
    net.counters.iter().filter(|counted| **counted == counter).count()
}

/// Whether an account has written an acknowledgement with this attribute.
fn is_acknowledged(net: &Net, attribute: &str) -> bool {
    let mut acks = net.world.stanzas().filter(|log| log.direction == "received" && log.stanza.starts_with("<ack"));
    acks.any(|log| log.stanza.contains(attribute))
}

#[test]
fn pending_log_out_is_answered_when_the_connection_drops() {
    let mut net = online();
    let parked = net.call("alice", |reply| Connection::LogOut { reply }.into());
    assert_eq!(parked, None, "the service is asked");
    net.disconnect("alice");
    assert_eq!(net.answer::<(), std::convert::Infallible>("alice"), Some(Ok(())));
    assert_eq!(net.state("alice"), AccountState::LoggedOut);
}

#[test]
fn pending_pairing_code_is_refused_when_the_connection_drops() {
    let mut net = Net::new();
    net.account("alice");
    net.world.create_phone(ALICE, None).unwrap();
    net.start("alice");
    net.until("a code is shown", |net| net.code("alice").is_some());
    assert_eq!(net.pairing_code("alice", ALICE), None, "the service is asked");
    net.disconnect("alice");
    assert_eq!(net.answer::<LinkCode, _>("alice"), Some(Err(LinkingError::NoCode(0))));
}

#[test]
fn corrupt_record_read_for_a_stanza_is_not_a_malformed_stanza() {
    let mut net = online();
    let group = net.world.create_group("crew", BOB, &[ALICE.into()]).unwrap().id;
    net.settle();
    net.send("alice", &group, "hello");
    net.settle();
    // Protobuf field 1, behind the format: a device that is no JID.
    net.overwrite("alice", kind::KEY_HOLDERS, &group, &[&[1, 0x0a, 3][..], b"@@@"].concat());
    net.restart("alice");
    net.until("the account is online", |net| net.state("alice") == AccountState::Online);
    let receipt = Node::new("receipt")
        .attr("id", "3EB0AA")
        .attr("from", Jid::parse(&group).unwrap())
        .attr("participant", Jid::pn(BOB))
        .attr("type", "retry")
        .child(Node::new("retry").attr("count", "1"));
    let error = net.failing_stanza("alice", receipt);
    assert!(matches!(error, AccountError::Record { what: "key holders" }), "{error}");
}

#[test]
fn a_malformed_message_is_acknowledged_and_changes_nothing() {
    let mut net = online();
    let before = net.accounts["alice"].local.committed.len();
    let message = Node::new("message").attr("from", Jid::pn(BOB)).attr("sender_lid", Jid::parse("77@lid").unwrap());
    net.stanza("alice", message);
    net.settle();
    assert!(is_acknowledged(&net, &format!("to=\"{BOB}@s.whatsapp.net\"")), "the service does not deliver it again");
    let committed = &net.accounts["alice"].local.committed[before..];
    assert!(committed.iter().all(|changes| changes.is_empty()), "{committed:?}");
    assert_eq!((counted(&net, Counter::Malformed), counted(&net, Counter::HalfHandled)), (1, 0));
}

#[test]
fn unclaimed_stanzas_are_counted() {
    let mut net = online();
    net.stanza("alice", Node::new("notification").attr("from", Jid::pn(BOB)).attr("id", "1").attr("type", "novelty"));
    net.stanza("alice", Node::new("ib").child(Node::new("novelty")));
    assert_eq!(counted(&net, Counter::Unclaimed), 2);
    net.settle();
    assert!(is_acknowledged(&net, "id=\"1\""), "the notification is acknowledged");
}

#[test]
fn a_device_list_that_changes_while_another_is_queried_is_queried_too() {
    let mut net = online();
    net.send("alice", BOB, "hello");
    net.settle();
    let changed = |id: &'static str, kind: &'static str, from: &str| {
        let notification = Node::new("notification").attr("id", id).attr("type", kind).attr("from", Jid::pn(from));
        notification.child(Node::new("devices"))
    };
    net.stanza("alice", changed("1", "account_sync", ALICE));
    let id = net.send("alice", BOB, "to the new device as well");
    net.stanza("alice", changed("2", "devices", BOB));
    net.settle();
    assert_eq!(net.message("alice", &id).failure, None);
    assert_eq!(net.message("alice", &id).status, MessageStatus::Read);
}

#[test]
fn a_pairing_code_that_a_passkey_replaces_before_it_is_shown_is_refused() {
    let mut net = Net::new();
    net.account("alice");
    net.world.create_phone(ALICE, None).unwrap();
    net.start("alice");
    net.until("a code is shown", |net| net.code("alice").is_some());
    assert_eq!(net.pairing_code("alice", ALICE), None, "the service is asked");
    let required = Node::new("notification").attr("id", "1").attr("type", "passkey_prologue_request");
    let options = Node::new("passkey_request_options").bytes(&b"{\"a\":1}"[..]);
    net.stanza("alice", required.attr("from", Jid::service()).child(options));
    net.settle();
    assert_eq!(net.state("alice"), AccountState::PasskeyRequired);
    assert_eq!(net.answer::<LinkCode, _>("alice"), Some(Err(LinkingError::NoCode(0))));
}

#[test]
fn malformed_keys_in_a_members_retry_receipt_are_no_fault_of_ours() {
    let mut net = online();
    let group = net.world.create_group("crew", BOB, &[ALICE.into()]).unwrap().id;
    net.settle();
    let id = net.send("alice", &group, "hello");
    net.settle();
    let sent = net.world.stanzas().filter(|log| log.stanza.starts_with("<message") && log.stanza.contains(&group));
    let device = sent.last().unwrap().stanza.split("<to jid=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let receipt = Node::new("receipt")
        .attr("id", id.as_str().to_owned())
        .attr("from", Jid::parse(&group).unwrap())
        .attr("participant", Jid::parse(&device).unwrap())
        .attr("type", "retry")
        .child(Node::new("retry").attr("count", "2"))
        .child(Node::new("keys"));
    net.stanza("alice", receipt);
    assert_eq!((counted(&net, Counter::HalfHandled), counted(&net, Counter::RetryRefused)), (0, 1));
}

#[test]
fn answer_to_nothing_that_was_asked_is_counted_and_changes_nothing() {
    let mut net = online();
    let before = net.backup("alice");
    net.stanza("alice", Node::new("iq").attr("type", "result").attr("id", "never-asked").attr("from", Jid::service()));
    assert_eq!(counted(&net, Counter::Unclaimed), 1);
    assert!(net.backup("alice") == before);
}
