//! Linking with a passkey: the whole ceremony, and each of its failures.

use crate::net::Net;
use std::time::Duration;
use wharf::account::AccountState;
use wharf::account::commands::{Assertion, Linking, LinkingError};
use wharf::sandbox::world::{PasskeyFault, PasskeyPolicy, PasskeyStep};
use wharf::signal::PublicKey;
use wharf::wire::passkey::PhoneIdentity;
use wharf::wire::{Jid, Node};

const ALICE: &str = "15550001111";

/// Alice's phone requires a passkey, and has scanned the account's code.
fn scanned(change: impl FnOnce(&mut PasskeyPolicy)) -> Net {
    let mut net = demanding(change);
    net.start("alice");
    net.until("a code is shown", |net| net.code("alice").is_some());
    let qr = net.code("alice").unwrap();
    net.world.scan(ALICE, &qr).unwrap();
    net
}

fn demanding(change: impl FnOnce(&mut PasskeyPolicy)) -> Net {
    let mut net = Net::new();
    net.account("alice");
    net.world.create_phone(ALICE, Some("Alice")).unwrap();
    let mut policy = PasskeyPolicy { required: true, ..PasskeyPolicy::default() };
    change(&mut policy);
    net.world.set_passkey(ALICE, policy).unwrap();
    net
}

fn asked(net: &mut Net) {
    net.until("a passkey is asked for", |net| net.state("alice") == AccountState::PasskeyRequired);
}

/// Sends the assertion of the person's browser.
fn assertion(net: &mut Net) -> Assertion {
    let options = net.view("alice").passkey.as_ref().unwrap().options.clone().unwrap();
    assert_eq!(options["rpId"], "whatsapp.com");
    Assertion::parse(net.world.sign_with_passkey(ALICE, &options).unwrap().to_string()).unwrap()
}

fn hand_in(net: &mut Net, assertion: Assertion) -> Option<Result<(), LinkingError>> {
    let assertion = Box::new(assertion);
    net.call("alice", |reply| Linking::Passkey { assertion, reply }.into())
}

fn confirm(net: &mut Net) -> Option<Result<(), LinkingError>> {
    net.call("alice", |reply| Linking::ConfirmPasskey { reply }.into())
}

fn prove(net: &mut Net) {
    let assertion = assertion(net);
    assert_eq!(hand_in(net, assertion), Some(Ok(())));
}

fn online(net: &mut Net) {
    net.until("the account is online", |net| net.state("alice") == AccountState::Online);
    assert_eq!(net.view("alice").passkey, None);
}

fn fault(fault: PasskeyFault) -> impl FnOnce(&mut PasskeyPolicy) {
    move |policy| policy.fault = Some(fault)
}

fn stopped_with(net: &mut Net, reason: &str) {
    net.until("the account has stopped", |net| net.state("alice") == AccountState::Stopped);
    assert_eq!(net.view("alice").reason.as_deref(), Some(reason));
    assert_eq!(net.view("alice").passkey, None);
}

#[test]
fn qr_code_and_passkey_link_the_account_without_comparing_codes() {
    let mut net = scanned(|_| {});
    asked(&mut net);
    assert_eq!(net.code("alice"), None, "the qr codes rest");
    prove(&mut net);
    online(&mut net);
    let states: Vec<_> =
        net.events("alice", "account.state").iter().map(|it| it["state"].as_str().unwrap().to_owned()).collect();
    assert!(states.contains(&"passkey_required".to_owned()) && !states.contains(&"passkey_confirmation".to_owned()));
}

#[test]
fn options_are_requested_if_the_notification_has_none() {
    let mut net = scanned(|policy| policy.ask_for_options = true);
    asked(&mut net);
    prove(&mut net);
    online(&mut net);
}

#[test]
fn pairing_code_and_passkey_link_the_account() {
    let mut net = demanding(|policy| policy.hello_first = true);
    net.pairing_code("alice", ALICE);
    net.until("there is a code", |net| net.view("alice").pairing_code.is_some());
    let code = net.view("alice").pairing_code.clone().unwrap().text;
    net.world.enter_code(ALICE, &code).unwrap();
    asked(&mut net);
    prove(&mut net);
    online(&mut net);
}

#[test]
fn after_five_minutes_the_codes_are_compared() {
    let mut net = scanned(|_| {});
    asked(&mut net);
    net.pass(Duration::from_secs(310));
    prove(&mut net);
    net.until("a code is to be compared", |net| net.state("alice") == AccountState::PasskeyConfirmation);
    net.settle();
    let shown = net.view("alice").passkey.as_ref().unwrap().code.clone().unwrap();
    assert_eq!(net.world.passkey_code(ALICE).unwrap(), shown);
    assert_eq!(confirm(&mut net), Some(Ok(())));
    net.settle();
    assert_ne!(net.state("alice"), AccountState::Online, "the phone has not said so yet");
    net.world.decide_passkey(ALICE, true).unwrap();
    online(&mut net);
}

#[test]
fn declined_comparison_of_codes_restarts_linking() {
    let mut net = scanned(fault(PasskeyFault::Mismatch));
    asked(&mut net);
    net.pass(Duration::from_secs(310));
    prove(&mut net);
    net.until("a code is to be compared", |net| net.state("alice") == AccountState::PasskeyConfirmation);
    net.settle();
    let shown = net.view("alice").passkey.as_ref().unwrap().code.clone();
    assert_ne!(net.world.passkey_code(ALICE).ok(), shown);
    net.world.decide_passkey(ALICE, false).unwrap();
    net.until("another code is shown", |net| net.code("alice").is_some());
    assert_eq!((net.state("alice"), &net.view("alice").passkey), (AccountState::Linking, &None));
}

#[test]
fn early_confirmation_does_not_end_the_attempt() {
    let mut net = scanned(|_| {});
    assert_eq!(confirm(&mut net), Some(Err(LinkingError::NoPasskey)));
    asked(&mut net);
    assert_eq!(confirm(&mut net), Some(Err(LinkingError::PasskeyUnderWay)));
    prove(&mut net);
    online(&mut net);
}

#[test]
fn unexpected_continuation_does_not_end_the_attempt() {
    let mut net = scanned(|_| {});
    asked(&mut net);
    let identity = [&[0x0a, 32][..], &[9; 32], &[0x12, 32], &[7; 32]].concat();
    let continuation = Node::new("notification")
        .attr("type", "crsc_continuation")
        .attr("from", Jid::service())
        .attr("id", "1")
        .child(Node::new("primary_ephemeral_identity").bytes(identity));
    net.stanza("alice", continuation.clone());
    net.pass(Duration::from_secs(310));
    prove(&mut net);
    net.until("a code is to be compared", |net| net.state("alice") == AccountState::PasskeyConfirmation);
    net.stanza("alice", continuation);
    net.world.decide_passkey(ALICE, true).unwrap();
    assert_eq!(confirm(&mut net), Some(Ok(())));
    online(&mut net);
}

#[test]
fn a_second_assertion_is_refused_while_the_first_is_under_way() {
    let mut net = scanned(|_| {});
    asked(&mut net);
    let assertion = assertion(&mut net);
    hand_in(&mut net, assertion.clone());
    let second = hand_in(&mut net, assertion);
    assert_eq!(second, Some(Err(LinkingError::PasskeyUnderWay)));
    online(&mut net);
}

#[test]
fn missing_continuation_of_the_phone_is_a_separate_failure() {
    let mut net = scanned(fault(PasskeyFault::Silence));
    asked(&mut net);
    prove(&mut net);
    net.pass(Duration::from_secs(46));
    stopped_with(&mut net, "passkey_no_answer");
}

#[test]
fn unanswered_challenge_expires() {
    let mut net = scanned(|_| {});
    asked(&mut net);
    net.pass(Duration::from_secs(601));
    stopped_with(&mut net, "passkey_expired");
}

#[test]
fn step_refused_by_the_service_is_named() {
    for (step, reason) in [
        (PasskeyStep::Reference, "passkey_refused: reference (429)"),
        (PasskeyStep::Assertion, "passkey_refused: assertion (429)"),
        (PasskeyStep::Nonce, "passkey_refused: nonce (429)"),
        (PasskeyStep::Confirmation, "passkey_refused: confirmation (429)"),
    ] {
        let mut net = scanned(fault(PasskeyFault::Refuse { step, code: 429 }));
        asked(&mut net);
        prove(&mut net);
        stopped_with(&mut net, reason);
    }
    let mut net = scanned(|policy| {
        policy.ask_for_options = true;
        policy.fault = Some(PasskeyFault::Refuse { step: PasskeyStep::Options, code: 404 });
    });
    stopped_with(&mut net, "passkey_refused: options (404)");
    let mut net = scanned(fault(PasskeyFault::Expired));
    asked(&mut net);
    prove(&mut net);
    stopped_with(&mut net, "passkey_refused: assertion (410)");
}

#[test]
fn an_assertion_for_another_challenge_is_refused() {
    let mut net = scanned(|_| {});
    asked(&mut net);
    let mut options = net.view("alice").passkey.as_ref().unwrap().options.clone().unwrap();
    options["challenge"] = "AAAA".into();
    let wrong = net.world.sign_with_passkey(ALICE, &options).unwrap().to_string();
    hand_in(&mut net, Assertion::parse(wrong).unwrap());
    stopped_with(&mut net, "passkey_refused: assertion (401)");
}

#[test]
fn closed_connection_ends_the_attempt_and_the_next_one_begins_another() {
    let mut net = scanned(fault(PasskeyFault::Disconnect));
    asked(&mut net);
    prove(&mut net);
    net.until("another code is shown", |net| net.code("alice").is_some());
    assert_eq!(net.view("alice").passkey, None);
    net.world.set_passkey(ALICE, PasskeyPolicy { required: true, ..PasskeyPolicy::default() }).unwrap();
    let qr = net.code("alice").unwrap();
    net.world.scan(ALICE, &qr).unwrap();
    asked(&mut net);
    prove(&mut net);
    online(&mut net);
}

#[test]
fn debug_output_and_events_hold_no_secret_of_the_ceremony() {
    let mut net = scanned(|_| {});
    asked(&mut net);
    let view = net.view("alice").clone();
    let challenge = view.passkey.as_ref().unwrap().options.as_ref().unwrap()["challenge"].as_str().unwrap().to_owned();
    let printed = format!("{view:?} {:?}", net.events("alice", "account.state"));
    assert!(!printed.contains(&challenge) && !printed.contains(&view.passkey.unwrap().token));
}

/// A key of zeros agrees on no secret.
#[test]
fn a_phone_with_an_unusable_key_ends_the_attempt() {
    for proven in [true, false] {
        let mut net = scanned(fault(PasskeyFault::Silence));
        asked(&mut net);
        if !proven {
            net.pass(Duration::from_secs(310));
        }
        prove(&mut net);
        net.settle();
        let phone = PhoneIdentity { key: PublicKey::from_bytes([0; 32]), nonce: [1; 32] };
        let identity = Node::new("primary_ephemeral_identity").bytes(phone.to_bytes());
        let going_on = Node::new("notification").attr("id", "1").attr("type", "crsc_continuation");
        net.stanza("alice", going_on.attr("from", Jid::service()).child(identity));
        if !proven {
            assert_eq!(confirm(&mut net), Some(Err(LinkingError::NoPasskey)));
        }
        stopped_with(&mut net, "passkey_unusable_key");
    }
}
