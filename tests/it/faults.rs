//! Requested faults of the sandbox: an account loses no message and reports none twice.

use crate::net::Net;
use crate::served::Served;
use serde_json::json;
use std::time::Duration;
use wharf::account::AccountState;
use wharf::account::commands::MessageStatus;
use wharf::sandbox::world::{FaultKind, NewFault};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";

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

fn once(kind: FaultKind) -> NewFault {
    NewFault { kind, account: Some(ALICE.into()), count: None, until: None, seed: 7 }
}

fn received(net: &Net) -> Vec<String> {
    let events = net.events("alice", "message.received");
    events.iter().skip(1).map(|data| data["text"]["body"].as_str().unwrap().to_owned()).collect()
}

fn write(net: &mut Net, texts: &[&str]) {
    for text in texts {
        net.world.write_text(BOB, ALICE, text).unwrap();
    }
    net.settle();
}

fn hits(net: &Net) -> u32 {
    net.world.faults().iter().map(|fault| fault.hits).sum()
}

#[test]
fn dropped_stanza_is_delivered_with_the_next_login() {
    let mut net = talking();
    net.world.add_fault(once(FaultKind::Drop));
    write(&mut net, &["1", "2"]);
    assert_eq!(received(&net), ["2"]);
    net.stop("alice");
    net.start("alice");
    net.settle();
    assert_eq!(received(&net), ["2", "1"]);
}

#[test]
fn delayed_stanza_is_delivered_within_its_time() {
    let mut net = talking();
    net.world.add_fault(once(FaultKind::Delay { ms: 60_000 }));
    write(&mut net, &["late"]);
    net.pass(Duration::from_secs(60));
    assert_eq!((received(&net), hits(&net)), (vec!["late".to_owned()], 1));
}

#[test]
fn duplicated_message_is_one_event() {
    let mut net = talking();
    net.world.add_fault(once(FaultKind::Duplicate));
    write(&mut net, &["1", "2"]);
    assert_eq!((received(&net), hits(&net)), (vec!["1".to_owned(), "2".to_owned()], 1));
}

#[test]
fn reordered_stanza_is_delivered_after_the_next_one_or_after_two_seconds() {
    let mut net = talking();
    net.world.add_fault(once(FaultKind::Reorder));
    write(&mut net, &["1", "2", "3"]);
    assert_eq!(received(&net), ["2", "1", "3"]);
    net.world.add_fault(once(FaultKind::Reorder));
    write(&mut net, &["4"]);
    assert_eq!(received(&net), ["2", "1", "3", "4"]);
}

#[test]
fn message_interrupted_by_a_disconnect_is_on_the_phone_once() {
    let mut net = talking();
    for seed in 0..8 {
        net.world.add_fault(NewFault { seed, ..once(FaultKind::Disconnect) });
        let id = net.send("alice", BOB, &seed.to_string());
        net.pass(Duration::from_secs(30));
        assert!(net.message("alice", &id).status >= MessageStatus::Sent);
    }
    let read = net.world.phone_messages(BOB).unwrap();
    let read: Vec<_> = read.iter().filter(|message| message.chat.starts_with(ALICE)).collect();
    assert_eq!((read.len(), hits(&net)), (9, 8));
    assert!(read.iter().any(|message| message.copies == 2), "the service had accepted some");
    assert!(read.iter().skip(1).any(|message| message.copies == 1), "and others not");
}

#[test]
fn rejected_message_fails_with_the_code() {
    let mut net = talking();
    net.world.add_fault(once(FaultKind::Refuse { code: 463 }));
    let refused = net.send("alice", BOB, "refused");
    let taken = net.send("alice", BOB, "taken");
    net.settle();
    let refused = net.message("alice", &refused);
    assert_eq!((refused.status, refused.failure.unwrap().0.as_str()), (MessageStatus::Failed, "service_463"));
    assert_eq!(net.message("alice", &taken).status, MessageStatus::Read);
}

#[test]
fn message_is_sent_again_after_a_stream_error() {
    let mut net = talking();
    net.world.add_fault(once(FaultKind::StreamError { code: 503 }));
    let id = net.send("alice", BOB, "again");
    net.until("the connection is lost", |net| net.state("alice") == AccountState::Reconnecting);
    net.pass(Duration::from_secs(30));
    assert_eq!(net.message("alice", &id).status, MessageStatus::Read);
}

#[test]
fn corrupted_message_is_reported_once_and_read_after_a_retry_receipt() {
    let mut net = talking();
    net.world.add_fault(once(FaultKind::Corrupt));
    write(&mut net, &["corrupted", "fine"]);
    assert_eq!(received(&net), ["fine", "corrupted"]);
    assert_eq!(net.events("alice", "message.undecryptable").len(), 1);
    let is_retry = |stanza: &str| stanza.starts_with("<receipt") && stanza.contains("type=\"retry\"");
    assert_eq!(net.world.stanzas().filter(|log| log.direction == "received" && is_retry(&log.stanza)).count(), 1);
}

#[test]
fn stale_device_list_lacks_the_newest_device_and_a_bundle_without_prekey_makes_a_session() {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.linked("bob", BOB);
    let of_bob = |kind| NewFault { account: Some(BOB.into()), ..once(kind) };
    net.world.add_fault(of_bob(FaultKind::StaleDevices));
    net.world.add_fault(NewFault { count: Some(9), ..of_bob(FaultKind::EmptyPrekeys) });
    let before = net.events("bob", "message.received").len();
    net.send("alice", BOB, "to the phone alone");
    net.settle();
    assert_eq!(net.events("bob", "message.received").len(), before);
    let read = net.world.phone_messages(BOB).unwrap();
    assert_eq!(read[0].text.as_deref(), Some("to the phone alone"));
    assert!(hits(&net) >= 2);
}

#[test]
fn fault_ends_with_its_count_or_its_time_and_affects_its_account_only() {
    let mut net = talking();
    let for_a_minute = NewFault { until: Some(net.now.plus(Duration::from_secs(60))), ..once(FaultKind::Duplicate) };
    net.world.add_fault(for_a_minute);
    net.world.add_fault(NewFault { account: Some(BOB.into()), ..once(FaultKind::Drop) });
    write(&mut net, &["1", "2"]);
    let within = hits(&net);
    assert!(within >= 2);
    net.pass(Duration::from_secs(60));
    write(&mut net, &["3"]);
    assert_eq!(hits(&net), within);
    net.world.clear_faults();
    assert_eq!(net.world.faults(), []);
}

#[actix_web::test]
async fn control_api_adds_lists_and_clears_faults() {
    let it = Served::start().await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(BOB).await;
    let fault = json!({ "kind": "refuse", "code": 479, "account": ALICE, "seed": 3 });
    let added = it.client.control("POST", "/faults", Some(fault)).await;
    assert_eq!(
        added,
        json!({ "id": 1, "kind": "refuse", "code": 479, "account": ALICE, "count": 1, "until": null, "seed": 3, "hits": 0 })
    );
    it.client.try_send(it.client.text("alice", BOB, "refused")).await.unwrap();
    crate::served::until("it is refused", async || {
        let status = it.client.events("alice", "message.status").await;
        status.iter().any(|data| data["code"] == "service_479").then_some(())
    })
    .await;
    assert_eq!(it.client.control("GET", "/faults", None).await["data"][0]["hits"], 1);
    it.client.control("DELETE", "/faults", None).await;
    assert_eq!(it.client.control("GET", "/faults", None).await["data"], json!([]));
    for wrong in [
        json!({ "kind": "explode" }),
        json!({ "kind": "delay" }),
        json!({ "kind": "drop", "until": "tomorrow" }),
        json!({ "kind": "drop", "times": 2 }),
        json!({ "kind": "drop", "count": -1 }),
    ] {
        let request = it.client.http.post(format!("{}/faults", it.client.sandbox)).json(&wrong);
        let refused = it.client.try_send(request).await.unwrap();
        assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some("invalid_body")), "{wrong}");
    }
}
