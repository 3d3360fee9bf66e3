//! Our prekeys at the service: uploads, their retries with back-off, and the digest.

use crate::net::Net;
use std::time::Duration;
use wharf::account::AccountState;
use wharf::sandbox::world::{FaultKind, NewFault};
use wharf::wire::encode_frame;

const ALICE: &str = "15550001111";

fn fault(net: &mut Net, kind: FaultKind, count: u32) {
    net.world.add_fault(NewFault { kind, account: Some(ALICE.into()), count: Some(count), until: None, seed: 7 });
}

/// The one-time prekeys of each upload, as they were written.
fn uploads(net: &Net) -> Vec<Vec<u8>> {
    let uploads = net.asked.iter().filter(|iq| iq.is("xmlns", "encrypt")).filter_map(|iq| iq.find("list"));
    uploads.map(encode_frame).collect()
}

#[test]
fn refused_batch_is_uploaded_again_unchanged_with_back_off() {
    let mut net = Net::new();
    net.account("alice");
    fault(&mut net, FaultKind::RefusePrekeys { code: 503 }, 3);
    net.world.create_phone(ALICE, None).unwrap();
    net.start("alice");
    net.until("a code is shown", |net| net.code("alice").is_some());
    let code = net.code("alice").unwrap();
    net.world.scan(ALICE, &code).unwrap();
    net.until("the account is online", |net| net.state("alice") == AccountState::Online);
    assert!(net.view("alice").prekeys_due);
    net.pass(Duration::from_secs(7));
    let offered = uploads(&net);
    assert_eq!(offered.len(), 4, "at once, after 1, 2 and 3 seconds");
    assert!(!net.view("alice").prekeys_due);
    assert!(offered.iter().all(|keys| *keys == offered[0]), "the same keys");
    net.pass(Duration::from_secs(700));
    assert_eq!(uploads(&net).len(), 4, "the last one was accepted");
}

#[test]
fn requeued_batch_survives_a_restart() {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    fault(&mut net, FaultKind::RefusePrekeys { code: 503 }, 50);
    net.refresh_prekeys("alice");
    net.settle();
    let refused = uploads(&net);
    net.world.clear_faults();
    net.restart("alice");
    net.settle();
    net.refresh_prekeys("alice");
    net.settle();
    let offered = uploads(&net);
    assert!(offered.len() > refused.len() && refused.len() > 1);
    assert_ne!(offered[0], offered[1], "the first was taken");
    assert!(offered[1..].iter().all(|keys| *keys == offered[1]), "the second was refused until now");
}

#[test]
fn a_fresh_batch_is_uploaded_on_request_now_or_with_the_next_login() {
    let mut net = Net::new();
    net.account("alice");
    assert!(matches!(net.refresh_prekeys("alice"), Some(Err(_))), "it is not linked");
    let mut net = Net::new();
    net.linked("alice", ALICE);
    assert_eq!(uploads(&net).len(), 1);
    assert_eq!(net.refresh_prekeys("alice"), Some(Ok(())));
    net.settle();
    assert_eq!(uploads(&net).len(), 2);
    net.stop("alice");
    net.refresh_prekeys("alice");
    net.start("alice");
    net.settle();
    assert_eq!(uploads(&net).len(), 3);
}

#[test]
fn service_without_our_prekeys_gets_them_all_again() {
    for (code, uploaded) in [(404, 2), (406, 1), (503, 1)] {
        let mut net = Net::new();
        net.linked("alice", ALICE);
        fault(&mut net, FaultKind::RefuseDigest { code }, 1);
        net.stop("alice");
        net.start("alice");
        net.settle();
        assert_eq!((uploads(&net).len(), net.state("alice")), (uploaded, AccountState::Online), "{code}");
    }
}

#[test]
fn digest_is_verified_once_for_each_login() {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    let asked = |net: &Net| {
        net.world.stanzas().filter(|log| log.direction == "received" && log.stanza.contains("<digest/>")).count()
    };
    let before = asked(&net);
    assert_eq!(before, 1);
    net.stop("alice");
    net.start("alice");
    net.settle();
    assert_eq!(asked(&net), 2);
}
