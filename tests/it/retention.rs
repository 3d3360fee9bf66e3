//! Deletion of records: by age, with their account, with their contact.

use crate::net::Net;
use crate::served::{KEY, MASTER_KEY, Served, config, until};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use wharf::account::ErasePage;
use wharf::account::commands::MessageStatus;
use wharf::app::{Parts, start};
use wharf::storage::{Engine, MasterKey, MemoryEngine};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";
const CAROL: &str = "15550003333";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn sweep(net: &mut Net) {
    while net.sweep("alice") {}
}

fn stored(net: &Net, kind: u8) -> usize {
    net.backup("alice").iter().filter(|(key, _)| key[16] == kind).count()
}

const MESSAGES: u8 = 0x04;
const INBOX: u8 = 0x05;
const SESSIONS: u8 = 0x10;

#[test]
fn message_records_and_inbox_rows_expire_and_sessions_do_not() {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.world.create_phone(BOB, None).unwrap();
    let old = net.send("alice", BOB, "old");
    net.world.write_text(BOB, ALICE, "old").unwrap();
    net.settle();
    let (received, sessions) = (stored(&net, INBOX), stored(&net, SESSIONS));
    // Offline: days of pings would take seconds.
    net.stop("alice");
    net.pass(29 * DAY);
    sweep(&mut net);
    assert_eq!((stored(&net, MESSAGES), stored(&net, INBOX)), (1, received), "not before their time");
    net.pass(2 * DAY);
    sweep(&mut net);
    assert_eq!(stored(&net, SESSIONS), sessions);
    net.start("alice");
    let young = net.send("alice", BOB, "young");
    net.settle();
    sweep(&mut net);
    assert_eq!(stored(&net, MESSAGES), 1);
    assert_eq!(net.message("alice", &young).status, MessageStatus::Read);
    assert_eq!(net.stored_message("alice", &old), None);
    assert!(stored(&net, INBOX) < received);
}

#[test]
fn a_queued_message_does_not_expire() {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.world.create_phone(BOB, None).unwrap();
    net.stop("alice");
    let waiting = net.send("alice", BOB, "patience");
    net.pass(60 * DAY);
    sweep(&mut net);
    assert_eq!(net.message("alice", &waiting).status, MessageStatus::Queued);
    net.start("alice");
    net.settle();
    assert_eq!(net.message("alice", &waiting).status, MessageStatus::Read);
}

#[test]
fn a_sweep_of_many_records_takes_several_turns() {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.stop("alice");
    for number in 0..600 {
        net.send("alice", BOB, &number.to_string());
    }
    let mut turns = 1;
    while net.sweep("alice") {
        turns += 1;
    }
    assert!(turns >= 3 + 4, "{turns}");
}

#[test]
fn an_erasure_counts_each_row_once_and_takes_messages_queued_meanwhile_along() {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.world.create_phone(BOB, None).unwrap();
    net.send("alice", BOB, "hello");
    net.settle();
    net.stop("alice");
    let mut erased = net.erase("alice", Box::new(ErasePage::first(&BOB.parse().unwrap())));
    let mut counts = std::mem::take(&mut erased.counts);
    // The page of messages is done.
    net.send("alice", BOB, "meanwhile");
    while let Some(page) = erased.next.take() {
        erased = net.erase("alice", page);
        counts.merge(std::mem::take(&mut erased.counts));
    }
    let counts = serde_json::to_value(&counts).unwrap();
    assert_eq!((&counts["device_lists"], &counts["messages"]), (&json!(1), &json!(2)), "{counts}");
    assert_eq!(stored(&net, MESSAGES), 0);
}

/// The number of rows that contain this text; the store must not be sealed.
fn rows_with(engine: &MemoryEngine, text: &str) -> usize {
    let rows = engine.scan(&[], None, usize::MAX).unwrap();
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    rows.iter().filter(|(key, value)| holds(key) || holds(value)).count()
}

async fn unsealed() -> (Served, Arc<MemoryEngine>) {
    let engine = Arc::new(MemoryEngine::default());
    let it = Served::unsealed(engine.clone()).await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(BOB).await;
    it.client.phone(CAROL).await;
    (it, engine)
}

async fn talk(it: &Served, person: &str) {
    it.client.try_send(it.client.text("alice", person, "hello").header("idempotency-key", person)).await.unwrap();
    let body = json!({ "to": ALICE, "text": format!("I am {person}") });
    it.client.control("POST", &format!("/phones/{person}/messages"), Some(body)).await;
    until("they have talked", async || {
        let received = it.client.events("alice", "message.received").await;
        let status = it.client.events("alice", "message.status").await;
        let of_person = |data: &&Value| data["chat"].as_str().unwrap().starts_with(person);
        let read = status.iter().filter(of_person).any(|data| data["status"] == "read");
        (read && received.iter().filter(of_person).count() == 1).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn a_contact_is_erased_with_every_row_that_names_it_and_others_stay() {
    let (it, engine) = unsealed().await;
    talk(&it, BOB).await;
    talk(&it, CAROL).await;
    assert!(rows_with(&engine, BOB) > 5);
    let carols = rows_with(&engine, CAROL);
    let answer = it.client.try_send(it.client.request("DELETE", &format!("/v1/accounts/alice/contacts/{BOB}"))).await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 200);
    let erased = answer.json()["erased"].clone();
    for kind in ["messages", "remembered_answers", "sessions", "identities", "device_lists", "events"] {
        assert!(erased[kind].as_u64().unwrap_or_default() >= 1, "{kind} in {erased}");
    }
    assert_eq!((rows_with(&engine, BOB), rows_with(&engine, CAROL)), (0, carols));
    let received = it.client.events("alice", "message.received").await;
    assert_eq!(received.len(), 1);
    // An erased contact can write again.
    it.client.try_send(it.client.text("alice", BOB, "who are you?")).await.unwrap();
    until("it is read", async || it.client.read(BOB).await.contains(&"who are you?".to_owned()).then_some(())).await;
}

#[actix_web::test]
async fn a_deleted_account_is_logged_out_and_leaves_no_row() {
    let (it, engine) = unsealed().await;
    it.client.linked("keeps", CAROL).await;
    talk(&it, BOB).await;
    let of_alice = |engine: &MemoryEngine| rows_with(engine, ALICE) + rows_with(engine, "\"alice\"");
    assert!(of_alice(&engine) > 5);
    let answer = it.client.try_send(it.client.request("DELETE", "/v1/accounts/alice")).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.json());
    let erased = answer.json()["erased"].clone();
    for kind in ["devices", "messages", "sessions", "identities", "prekeys", "events"] {
        assert!(erased[kind].as_u64().unwrap_or_default() >= 1, "{kind} in {erased}");
    }
    assert_eq!(of_alice(&engine), 0);
    assert_eq!(it.client.try_send(it.client.request("GET", "/v1/accounts/alice")).await.unwrap().status, 404);
    let phone = it.client.control("GET", &format!("/phones/{ALICE}"), None).await;
    assert_eq!(phone["companions"], json!([]), "the phone no longer lists the device");
    assert_eq!(it.client.state("keeps").await, "online");
    // The account id is free again.
    it.client.linked("alice", ALICE).await;
}

/// Panics at every turn of alice's, when armed.
#[derive(Default)]
struct Panics(std::sync::atomic::AtomicBool);

impl wharf::base::hooks::Hooks for Panics {
    fn reach(&self, point: wharf::base::hooks::Point, subject: &str) {
        let is_hers = point == wharf::base::hooks::Point::Router && subject == "alice";
        assert!(!(is_hers && self.0.load(std::sync::atomic::Ordering::SeqCst)), "planted");
    }
}

/// The account is deleted while its tree is down and its restart is scheduled.
#[actix_web::test]
async fn an_account_deleted_while_its_restart_is_scheduled_stays_deleted() {
    let (hooks, engine) = (Arc::new(Panics::default()), Arc::new(MemoryEngine::default()));
    let parts = Parts { hooks: hooks.clone(), engine: Some(engine.clone()), ..Parts::default() };
    let it = Served::configured(parts, |config| config.storage.seal = false).await;
    it.client.linked("alice", ALICE).await;
    hooks.0.store(true, std::sync::atomic::Ordering::SeqCst);
    it.client.try_send(it.client.text("alice", BOB, "panic")).await.unwrap();
    let deleted = it.client.try_send(it.client.request("DELETE", "/v1/accounts/alice")).await.unwrap();
    assert_eq!(deleted.status, 200);
    // This takes longer than the wait for the scheduled restart.
    it.client.linked("bob", BOB).await;
    assert_eq!(it.client.get("/v1/accounts").await["data"].as_array().unwrap().len(), 1);
    assert_eq!(rows_with(&engine, "\"alice\""), 0);
}

#[actix_web::test]
async fn a_deleted_account_leaves_no_data_key() {
    let engine = Arc::new(MemoryEngine::default());
    let it = Served::with(Parts { engine: Some(engine.clone()), ..Parts::default() }).await;
    it.client.linked("alice", ALICE).await;
    let data_keys = || engine.scan(&[&[0; 16], &[0x47][..]].concat(), None, usize::MAX).unwrap().len();
    assert_eq!(data_keys(), 2, "the server's, and the account's");
    it.client.try_send(it.client.request("DELETE", "/v1/accounts/alice")).await.unwrap();
    assert_eq!(data_keys(), 1);
}

#[actix_web::test]
async fn a_cursor_to_deleted_events_is_refused() {
    let (it, engine) = unsealed().await;
    let page = it.client.get("/v1/events?limit=1").await;
    let (old, newest) = (page["next"].as_str().unwrap().to_owned(), it.client.get("/v1/events").await);
    let index = engine.scan(&[&[0; 16], &[0x41][..]].concat(), None, usize::MAX).unwrap();
    let dropped = index.iter().take(index.len() - 1).map(|(key, _)| (key.clone(), None));
    engine.apply(wharf::storage::Batch { writes: dropped.collect(), ..Default::default() }).unwrap();
    let get = async |after: &str| {
        let request = it.client.request("GET", &format!("/v1/events?after={after}"));
        it.client.try_send(request).await.unwrap()
    };
    assert_eq!(get(&old).await.status, 200, "erased events leave a gap, which does not expire the cursor");
    let log_start = [&[0; 16], &[0x45][..], b"log_start"].concat();
    let first = [&[0][..], &(index.len() as u64).to_be_bytes()].concat();
    let swept = wharf::storage::Batch { writes: [(log_start, Some(first))].into(), ..Default::default() };
    engine.apply(swept).unwrap();
    let refused = get(&old).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (410, Some("cursor_expired")));
    assert_eq!(get(newest["next"].as_str().unwrap()).await.status, 200);
    assert_eq!(
        it.client.get("/v1/events").await["data"].as_array().unwrap().len(),
        1,
        "a read from the start begins with the oldest event left"
    );
}

/// An erasure is recorded before its first row is deleted, so that the next start finishes an interrupted one.
#[actix_web::test]
async fn an_interrupted_erasure_is_finished_at_the_next_start() {
    let sandbox = wharf::app::start_sandbox("127.0.0.1:0").unwrap();
    let engine = Arc::new(MemoryEngine::default());
    let parts = || Parts {
        engine: Some(engine.clone()),
        admin_key: Some(KEY.into()),
        master_key: MasterKey::parse(MASTER_KEY),
        ..Parts::default()
    };
    let mut config = config(&sandbox);
    config.storage.seal = false;
    let running = start(&config, parts()).await.unwrap();
    let client =
        crate::served::Client::new(format!("http://{}", running.address), format!("http://{}", sandbox.address));
    client.linked("alice", ALICE).await;
    running.stop().await.unwrap();
    let account = |engine: &MemoryEngine| {
        let rows = engine.scan(&[], None, usize::MAX).unwrap();
        rows.iter().find(|(key, _)| key[0] & 0x80 != 0).map(|(key, _)| key[..16].to_vec())
    };
    // The state after the first commit of an erasure.
    let key = account(&engine).unwrap();
    let note = [&[0; 16], &[0x45][..], b"erasing/", &key].concat();
    let place = [&[0; 16], &[0x40][..], b"alice"].concat();
    let writes = [(note, Some(b"\0alice".to_vec())), (place, None)].into();
    engine.apply(wharf::storage::Batch { writes, ..Default::default() }).unwrap();
    let running = start(&config, parts()).await.unwrap();
    until("nothing of it is left", async || account(&engine).is_none().then_some(())).await;
    running.stop().await.unwrap();
}
