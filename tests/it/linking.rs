//! Linking by an eight-character code, registration refresh, and a phone that does not sign.

use crate::net::Net;
use std::time::Duration;
use wharf::account::commands::LinkingError;
use wharf::account::{AccountState, LinkCode};
use wharf::wire::{Jid, Node};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";

fn with_phone() -> Net {
    let mut net = Net::new();
    net.account("alice");
    net.world.create_phone(ALICE, Some("Alice")).unwrap();
    net
}

/// Requests a code to type into Alice's phone.
fn code(net: &mut Net) -> String {
    net.pairing_code("alice", ALICE);
    net.until("there is a code", |net| net.view("alice").pairing_code.is_some());
    match net.answer::<LinkCode, LinkingError>("alice") {
        Some(Ok(code)) => code.text,
        other => panic!("no code: {other:?}"),
    }
}

fn reason(net: &Net) -> String {
    net.view("alice").reason.clone().unwrap_or_default()
}

#[test]
fn typed_pairing_code_links_the_account() {
    let mut net = with_phone();
    let code = code(&mut net);
    assert_eq!((code.len(), &code[4..5]), (9, "-"));
    net.world.enter_code(ALICE, &code).unwrap();
    net.until("the account is online", |net| net.state("alice") == AccountState::Online);
    assert_eq!(net.view("alice").pairing_code, None);
    net.world.create_phone(BOB, None).unwrap();
    net.send("alice", BOB, "linked by code");
    net.settle();
    assert_eq!(net.world.phone_messages(BOB).unwrap().len(), 1);
}

#[test]
fn linked_account_gets_no_pairing_code() {
    let mut net = with_phone();
    let code = code(&mut net);
    net.world.enter_code(ALICE, &code).unwrap();
    net.until("the account is online", |net| net.state("alice") == AccountState::Online);
    let reply = net.pairing_code("alice", ALICE);
    assert_eq!(reply, Some(Err(LinkingError::AlreadyLinked)));
}

#[test]
fn unregistered_number_gets_no_pairing_code() {
    let mut net = with_phone();
    net.pairing_code("alice", BOB);
    net.settle();
    assert_eq!(net.answer::<LinkCode, _>("alice"), Some(Err(LinkingError::NoCode(404))));
    assert!(net.code("alice").is_some(), "the qr code can be scanned still");
}

#[test]
fn wrong_pairing_code_can_be_corrected_twice() {
    let mut net = with_phone();
    let code = code(&mut net);
    for _ in 0..2 {
        net.world.enter_code(ALICE, "1111-1111").unwrap();
        net.settle();
        assert_eq!(net.state("alice"), AccountState::Linking);
    }
    net.world.enter_code(ALICE, &code).unwrap();
    net.until("the account is online", |net| net.state("alice") == AccountState::Online);

    let mut net = with_phone();
    self::code(&mut net);
    for _ in 0..3 {
        net.world.enter_code(ALICE, "1111-1111").unwrap();
        net.settle();
    }
    assert_eq!((net.state("alice"), reason(&net)), (AccountState::Stopped, "link_code_wrong".into()));
}

#[test]
fn pairing_code_is_valid_for_three_minutes_and_outlives_the_qr_codes() {
    let mut net = with_phone();
    let code = code(&mut net);
    net.pass(Duration::from_secs(170));
    assert_eq!((net.state("alice"), net.code("alice")), (AccountState::Linking, None));
    net.world.enter_code(ALICE, &code).unwrap();
    net.until("the account is online", |net| net.state("alice") == AccountState::Online);

    let mut net = with_phone();
    self::code(&mut net);
    net.pass(Duration::from_secs(181));
    assert_eq!((net.state("alice"), reason(&net)), (AccountState::Stopped, "link_expired".into()));
    assert_eq!(net.view("alice").pairing_code, None);
}

#[test]
fn qr_code_scanned_while_a_pairing_code_is_shown_links_the_account() {
    let mut net = with_phone();
    code(&mut net);
    let qr = net.code("alice").unwrap();
    net.world.scan(ALICE, &qr).unwrap();
    net.until("the account is online", |net| net.state("alice") == AccountState::Online);
}

#[test]
fn stop_refuses_a_pending_pairing_code() {
    let mut net = with_phone();
    net.pairing_code("alice", ALICE);
    net.stop("alice");
    assert!(matches!(net.answer::<LinkCode, _>("alice"), Some(Err(LinkingError::NoCode(_)))));
}

#[test]
fn registration_refresh_keeps_the_reference_and_replaces_the_secret() {
    let mut net = with_phone();
    net.start("alice");
    net.until("a code is shown", |net| net.code("alice").is_some());
    let fields = |net: &Net| net.code("alice").unwrap().split(',').map(str::to_owned).collect::<Vec<_>>();
    let before = fields(&net);
    let refresh = |child: &'static str| {
        let notification = Node::new("notification").attr("type", "companion_reg_refresh").attr("id", "1");
        notification.attr("from", Jid::service()).child(Node::new(child))
    };
    net.stanza("alice", refresh("something-else"));
    assert_eq!(fields(&net), before);
    for child in ["companion_reg_refresh", "pair-device-rotate-qr"] {
        let before = fields(&net);
        net.stanza("alice", refresh(child));
        let after = fields(&net);
        assert_eq!(before[..3], after[..3]);
        assert_ne!(before[3], after[3]);
    }
    let qr = net.code("alice").unwrap();
    net.world.scan(ALICE, &qr).unwrap();
    net.until("the account is online", |net| net.state("alice") == AccountState::Online);
}

#[test]
fn linking_fails_if_the_phone_does_not_sign_in_time() {
    let mut net = with_phone();
    let code = code(&mut net);
    net.world.enter_code(ALICE, &code).unwrap();
    // The notification of the phone has arrived; the pair-success that should follow does not.
    net.carry_one();
    let proof = |net: &Net| {
        net.asked
            .iter()
            .any(|iq| iq.find("link_code_companion_reg").is_some_and(|it| it.is("stage", "companion_finish")))
    };
    while !proof(&net) {
        assert!(net.carry_one());
    }
    net.silence("alice");
    net.pass(Duration::from_secs(61));
    assert_ne!(net.state("alice"), AccountState::Online);
}

#[test]
fn a_caller_who_waits_for_a_code_is_answered_though_the_phone_asks_for_a_fresh_one() {
    let mut net = with_phone();
    let code = code(&mut net);
    net.world.enter_code(ALICE, &code).unwrap();
    // The typed code came; the service's next stanzas do not.
    net.carry_one();
    assert_eq!(net.pairing_code("alice", ALICE), None, "the phone is signing");
    let step = Node::new("link_code_companion_reg").attr("stage", "refresh_code");
    let refresh = Node::new("notification").attr("id", "1").attr("type", "link_code_companion_reg");
    net.stanza("alice", refresh.attr("from", Jid::service()).child(step));
    net.stop("alice");
    assert!(matches!(net.answer::<LinkCode, _>("alice"), Some(Err(LinkingError::NoCode(_)))));
}
