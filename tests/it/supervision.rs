//! Supervision: a panic restarts its own account's tree and no other; hangs, quarantine, critical actors, fairness.

use crate::served::{Served, until};
use serde_json::json;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use wharf::actors::Failure;
use wharf::app::Parts;
use wharf::base::hooks::{Hooks, Point};
use wharf::storage::{Batch, Engine, MemoryEngine};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";
const CAROL: &str = "15550003333";

/// Panics once at each of these points, in order, when armed.
pub struct PanicAt {
    points: Vec<Point>,
    armed: AtomicBool,
    panics: AtomicUsize,
}

impl PanicAt {
    pub fn new(points: &[Point]) -> Arc<Self> {
        Arc::new(Self { points: points.into(), armed: AtomicBool::new(false), panics: AtomicUsize::new(0) })
    }

    pub fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    async fn all_happened(&self) {
        let all = self.points.len();
        until("the panic happened", async || (self.panics.load(Ordering::SeqCst) == all).then_some(())).await;
    }
}

impl Hooks for PanicAt {
    fn reach(&self, point: Point, subject: &str) {
        let next = self.points.get(self.panics.load(Ordering::SeqCst));
        let is_hers = matches!(subject, "alice" | "");
        if next == Some(&point) && is_hers && self.armed.load(Ordering::SeqCst) {
            self.panics.fetch_add(1, Ordering::SeqCst);
            panic!("planted at {point}");
        }
    }
}

async fn recovers_from_a_panic_at(points: &[Point]) {
    recovers(points, false).await;
}

async fn recovers(points: &[Point], in_a_group: bool) {
    let hooks = PanicAt::new(points);
    let it = Served::with(Parts { hooks: hooks.clone(), ..Parts::default() }).await;
    it.client.linked("alice", ALICE).await;
    it.client.linked("bob", BOB).await;
    it.client.phone(CAROL).await;
    let (to_alice, to_carol) = if in_a_group {
        let group = json!({ "subject": "two", "creator": CAROL, "participants": [ALICE] });
        let group = it.client.control("POST", "/groups", Some(group)).await["id"].as_str().unwrap().to_owned();
        (group.clone(), group)
    } else {
        (ALICE.to_owned(), CAROL.to_owned())
    };
    hooks.arm();
    // A first message in each direction involves every child: a device query, new sessions, a prekey.
    it.client
        .control("POST", &format!("/phones/{CAROL}/messages"), Some(json!({ "to": to_alice, "text": "in" })))
        .await;
    hooks.all_happened().await;
    until("the account accepts a message again", async || {
        let request = it.client.text("alice", &to_carol, "out").header("idempotency-key", "one");
        let answer = it.client.try_send(request).await.unwrap();
        assert!(matches!(answer.status, 202 | 503), "{}", answer.json());
        (answer.status == 202).then_some(())
    })
    .await;
    it.client.online("alice").await;
    until("the message is read", async || it.client.read(CAROL).await.contains(&"out".to_owned()).then_some(())).await;
    until("what came in is logged", async || {
        (it.client.events("alice", "message.received").await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(it.client.read(CAROL).await, ["out"], "sent once");
    assert_eq!(it.client.get("/v1/accounts/alice").await["restarts"], 1);
    let bob = it.client.get("/v1/accounts/bob").await;
    assert_eq!((bob["restarts"].as_u64(), bob["state"].as_str()), (Some(0), Some("online")));
}

#[actix_web::test]
async fn tree_recovers_from_a_panic_in_a_spawned_future() {
    recovers_from_a_panic_at(&[Point::Publishing]).await;
}

#[actix_web::test]
async fn tree_recovers_from_a_panic_while_it_stops() {
    recovers_from_a_panic_at(&[Point::Router, Point::Stopping]).await;
}

#[actix_web::test]
async fn tree_recovers_from_a_panic_of_the_session_cipher() {
    recovers_from_a_panic_at(&[Point::SessionCipher]).await;
}

#[actix_web::test]
async fn tree_recovers_from_a_panic_of_the_sender_keys() {
    recovers(&[Point::SenderKeys], true).await;
}

#[actix_web::test]
async fn tree_recovers_from_a_panic_of_the_device_sync() {
    recovers_from_a_panic_at(&[Point::DeviceSync]).await;
}

#[actix_web::test]
async fn tree_recovers_from_a_panic_of_the_prekeys() {
    recovers_from_a_panic_at(&[Point::PreKeys]).await;
}

#[actix_web::test]
async fn tree_recovers_from_a_panic_of_the_router() {
    recovers_from_a_panic_at(&[Point::Router]).await;
}

#[actix_web::test]
async fn tree_recovers_from_a_panic_of_the_connection() {
    recovers_from_a_panic_at(&[Point::Received]).await;
}

/// Panics in every turn of one account.
struct AlwaysPanic(AtomicBool);

impl Hooks for AlwaysPanic {
    fn reach(&self, point: Point, subject: &str) {
        assert!(!(point == Point::Router && subject == "alice" && self.0.load(Ordering::SeqCst)), "planted");
    }
}

#[actix_web::test]
async fn account_that_fails_repeatedly_is_quarantined_until_it_is_started() {
    let hooks = Arc::new(AlwaysPanic(AtomicBool::new(false)));
    let it = Served::with(Parts { hooks: hooks.clone(), ..Parts::default() }).await;
    it.client.linked("alice", ALICE).await;
    hooks.0.store(true, Ordering::SeqCst);
    it.client.post("/v1/accounts/alice/stop", json!({})).await;
    until("the account is quarantined", async || (it.client.state("alice").await == "quarantined").then_some(())).await;
    let account = it.client.get("/v1/accounts/alice").await;
    assert!(account["reason"].as_str().unwrap().contains("planted"), "{account}");
    hooks.0.store(false, Ordering::SeqCst);
    until("a start releases it", async || {
        let answer = it.client.post("/v1/accounts/alice/start", json!({})).await;
        (answer.status == 200).then_some(())
    })
    .await;
    it.client.online("alice").await;
}

#[actix_web::test]
async fn corrupt_record_quarantines_its_account_and_is_named() {
    let engine = Arc::new(MemoryEngine::default());
    let it = Served::with(Parts { engine: Some(engine.clone()), ..Parts::default() }).await;
    it.client.linked("bob", BOB).await;
    let others: HashSet<Vec<u8>> = accounts_in(&engine);
    it.client.linked("alice", ALICE).await;
    it.client.phone(CAROL).await;
    let alice = accounts_in(&engine).difference(&others).next().unwrap().clone();
    let rows = engine.scan(&alice, None, usize::MAX).unwrap();
    let damaged = rows.into_iter().map(|(key, value)| (key, Some(value.iter().map(|byte| byte ^ 1).collect())));
    engine.apply(Batch { writes: damaged.collect(), ..Batch::default() }).unwrap();

    // A first message needs a stored prekey.
    it.client.control("POST", &format!("/phones/{CAROL}/messages"), Some(json!({ "to": ALICE, "text": "in" }))).await;
    until("the account is quarantined", async || (it.client.state("alice").await == "quarantined").then_some(())).await;
    let reason = it.client.get("/v1/accounts/alice").await["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("is corrupt") && reason.contains("record kind 0x"), "{reason}");

    it.client.post("/v1/accounts/bob/messages", json!({ "to": CAROL, "type": "text", "text": { "body": "hi" } })).await;
    until("the other's message is read", async || it.client.read(CAROL).await.contains(&"hi".to_owned()).then_some(()))
        .await;
    assert_eq!(it.client.get("/v1/accounts/bob").await["restarts"], 0);
}

/// The prefixes of all accounts in the store.
fn accounts_in(engine: &MemoryEngine) -> HashSet<Vec<u8>> {
    let rows = engine.scan(&[], None, usize::MAX).unwrap();
    rows.into_iter().map(|(key, _)| key[..16].to_vec()).collect()
}

/// Panics at every use of one child while armed, and counts the panics.
struct Hostile {
    armed: AtomicBool,
    panics: AtomicUsize,
}

impl Hooks for Hostile {
    fn reach(&self, point: Point, subject: &str) {
        if point == Point::SessionCipher && subject == "alice" && self.armed.load(Ordering::SeqCst) {
            self.panics.fetch_add(1, Ordering::SeqCst);
            panic!("planted: this stanza panics");
        }
    }
}

#[actix_web::test]
async fn poison_message_is_skipped_after_two_panics_and_reported_with_its_bytes() {
    let hooks = Arc::new(Hostile { armed: AtomicBool::new(false), panics: AtomicUsize::new(0) });
    let it = Served::with(Parts { hooks: hooks.clone(), ..Parts::default() }).await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(CAROL).await;
    let message = |text: &str| Some(json!({ "to": ALICE, "text": text }));
    // Wait until the phone's first messages to a new companion have arrived.
    until("the history is taken", async || {
        let stanzas = it.client.control("GET", "/stanzas", None).await.to_string();
        (stanzas.matches(r#"type=\"hist_sync\"/>"#).count() == 3).then_some(())
    })
    .await;
    hooks.armed.store(true, Ordering::SeqCst);
    it.client.control("POST", &format!("/phones/{CAROL}/messages"), message("hostile")).await;
    let events = until("it is skipped", async || {
        let events = it.client.events("alice", "message.undecryptable").await;
        (!events.is_empty()).then_some(events)
    })
    .await;
    assert_eq!((events.len(), hooks.panics.load(Ordering::SeqCst)), (1, 2));
    let data = &events[0];
    assert_eq!(data["reason"], "the stanza brought the account down twice");
    assert!(data["stanza"].as_str().unwrap().len() > 100 && data["id"].is_string(), "{data}");

    hooks.armed.store(false, Ordering::SeqCst);
    it.client.online("alice").await;
    it.client.control("POST", &format!("/phones/{CAROL}/messages"), message("harmless")).await;
    until("the next message is read", async || {
        let received = it.client.events("alice", "message.received").await;
        received.iter().any(|data| data["text"]["body"] == "harmless").then_some(())
    })
    .await;
    assert_eq!(it.client.get("/v1/accounts/alice").await["restarts"], 2);
    assert_eq!(it.client.events("alice", "message.undecryptable").await.len(), 1);
}

/// A panic of an actor that all accounts share ends the server with a reason; the next one continues all accepted work.
async fn ends_by_a_panic_at(points: &[Point], failure: Failure) {
    let hooks = PanicAt::new(points);
    let engine = Arc::new(MemoryEngine::default());
    let it = Served::with(Parts { hooks: hooks.clone(), engine: Some(engine.clone()), ..Parts::default() }).await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(CAROL).await;
    let hook = crate::webhooks::Hook::start(&[]);
    it.client.post("/v1/webhooks", json!({ "url": hook.url, "events": ["message.received"] })).await;
    hooks.arm();
    it.client.control("POST", &format!("/phones/{CAROL}/messages"), Some(json!({ "to": ALICE, "text": "in" }))).await;
    hooks.all_happened().await;
    assert_eq!(it.running.failed().await, failure);
    let ready = it.client.try_send(it.client.request("GET", "/readyz")).await.unwrap();
    assert_eq!(ready.status, 503);
    let next = it.next_server(engine).await;
    next.client.online("alice").await;
    until("what came in is logged", async || {
        (next.client.events("alice", "message.received").await.len() == 1).then_some(())
    })
    .await;
}

#[actix_web::test]
async fn panic_of_the_committer_ends_the_server_and_the_next_one_continues() {
    ends_by_a_panic_at(&[Point::Staged], Failure::Storage).await;
}

#[actix_web::test]
async fn panic_of_the_fleet_ends_the_server_and_the_next_one_continues() {
    ends_by_a_panic_at(&[Point::Router, Point::TreeDown], Failure::Actor("fleet")).await;
}

#[actix_web::test]
async fn panic_of_the_dispatcher_ends_the_server_and_the_next_one_continues() {
    ends_by_a_panic_at(&[Point::Delivered], Failure::Actor("dispatcher")).await;
}

#[actix_web::test]
async fn panic_of_a_delivery_attempt_is_a_failed_attempt() {
    let hooks = PanicAt::new(&[Point::Attempted]);
    let retry_steps = vec![std::time::Duration::ZERO; 3];
    let it = Served::with(Parts { hooks: hooks.clone(), retry_steps, ..Parts::default() }).await;
    let hook = crate::webhooks::Hook::start(&[]);
    it.client.linked("alice", ALICE).await;
    it.client.phone(CAROL).await;
    it.client.post("/v1/webhooks", json!({ "url": hook.url, "events": ["message.received"] })).await;
    hooks.arm();
    it.client.control("POST", &format!("/phones/{CAROL}/messages"), Some(json!({ "to": ALICE, "text": "in" }))).await;
    until("it is delivered after all", async || (hook.hits.lock().unwrap().len() == 1).then_some(())).await;
    hooks.all_happened().await;
}

/// Blocks the thread of alice's tree while the gate is closed.
#[derive(Default)]
struct Blocks {
    closed: Mutex<bool>,
    opened: Condvar,
    blocked: AtomicUsize,
}

impl Blocks {
    fn close(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_all();
    }
}

impl Hooks for Blocks {
    fn reach(&self, point: Point, subject: &str) {
        if point == Point::SessionCipher && subject == "alice" && *self.closed.lock().unwrap() {
            self.blocked.fetch_add(1, Ordering::SeqCst);
            drop(self.opened.wait_while(self.closed.lock().unwrap(), |closed| *closed).unwrap());
        }
    }
}

#[actix_web::test]
async fn accounts_of_a_blocked_thread_move_and_the_blocking_stanza_is_skipped() {
    let hooks = Arc::new(Blocks::default());
    let parts = Parts { hooks: hooks.clone(), ..Parts::default() };
    let it = Served::configured(parts, |config| {
        config.accounts.threads = 1;
        config.accounts.stuck_seconds = 1;
    })
    .await;
    it.client.linked("alice", ALICE).await;
    it.client.linked("bob", BOB).await;
    it.client.phone(CAROL).await;
    hooks.close(true);
    it.client.control("POST", &format!("/phones/{CAROL}/messages"), Some(json!({ "to": ALICE, "text": "in" }))).await;
    until("it has blocked twice, and is skipped", async || {
        (it.client.events("alice", "message.undecryptable").await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(hooks.blocked.load(Ordering::SeqCst), 2);
    it.client.online("alice").await;
    // Bob's tree was on the blocked thread too.
    it.client.online("bob").await;
    it.client.try_send(it.client.text("bob", CAROL, "not blocked")).await.unwrap();
    until("his message is read", async || {
        it.client.read(CAROL).await.contains(&"not blocked".to_owned()).then_some(())
    })
    .await;
    let reason = it.client.get("/v1/accounts/alice").await;
    assert_eq!(reason["restarts"], 2, "{reason}");
    hooks.close(false);
}

/// Alice's tree fails once, and the fleet is frozen when it learns of that: for many rounds of its watch.
#[derive(Default)]
struct FreezesFleet(AtomicUsize);

impl Hooks for FreezesFleet {
    #[expect(clippy::disallowed_methods, reason = "the freeze itself")]
    fn reach(&self, point: Point, subject: &str) {
        let is_next = |from| self.0.compare_exchange(from, from + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if point == Point::Router && subject == "alice" && is_next(1) {
            panic!("planted");
        }
        if point == Point::TreeDown && is_next(2) {
            std::thread::sleep(std::time::Duration::from_secs(3));
            self.0.store(4, Ordering::SeqCst);
        }
    }
}

#[actix_web::test]
async fn freeze_of_the_watch_is_not_counted_against_the_accounts() {
    let hooks = Arc::new(FreezesFleet::default());
    let parts = Parts { hooks: hooks.clone(), ..Parts::default() };
    let it = Served::configured(parts, |config| config.accounts.stuck_seconds = 1).await;
    it.client.linked("alice", ALICE).await;
    it.client.linked("bob", BOB).await;
    it.client.phone(CAROL).await;
    hooks.0.store(1, Ordering::SeqCst);
    it.client.control("POST", &format!("/phones/{CAROL}/messages"), Some(json!({ "to": ALICE, "text": "in" }))).await;
    until("the freeze is over", async || (hooks.0.load(Ordering::SeqCst) == 4).then_some(())).await;
    it.client.online("alice").await;
    assert_eq!(it.client.get("/v1/accounts/alice").await["restarts"], 1);
    assert_eq!(it.client.get("/v1/accounts/bob").await["restarts"], 0);
}

/// Counts the calls of alice's session cipher.
#[derive(Default)]
struct Calls(AtomicUsize);

impl Hooks for Calls {
    fn reach(&self, point: Point, subject: &str) {
        if point == Point::SessionCipher && subject == "alice" {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[actix_web::test]
async fn account_that_was_used_rests_once_after_a_while() {
    let hooks = Arc::new(Calls::default());
    let parts = Parts { hooks: hooks.clone(), ..Parts::default() };
    let it = Served::configured(parts, |config| config.accounts.rest_seconds = 2).await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(CAROL).await;
    let sent = it.client.try_send(it.client.text("alice", CAROL, "hello")).await.unwrap().json();
    let path = format!("/v1/accounts/alice/messages/{}", sent["id"].as_str().unwrap());
    until("it is read", async || (it.client.get(&path).await["status"] == "read").then_some(())).await;
    let before = hooks.0.load(Ordering::SeqCst);
    until("she rests", async || (hooks.0.load(Ordering::SeqCst) > before).then_some(())).await;
    it.client.try_send(it.client.text("alice", CAROL, "hello again")).await.unwrap();
    it.client.all_read_once(CAROL, &["hello".into(), "hello again".into()]).await;
}

#[actix_web::test]
async fn shutdown_waits_for_a_blocked_account_only_until_its_timeout() {
    let hooks = Arc::new(Blocks::default());
    let parts = Parts { hooks: hooks.clone(), ..Parts::default() };
    let it = Served::configured(parts, |config| config.drain_seconds = 1).await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(CAROL).await;
    hooks.close(true);
    it.client.control("POST", &format!("/phones/{CAROL}/messages"), Some(json!({ "to": ALICE, "text": "in" }))).await;
    until("it is blocked", async || (hooks.blocked.load(Ordering::SeqCst) == 1).then_some(())).await;
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(8), it.running.stop()).await;
    stopped.expect("it stops in time").unwrap();
    hooks.close(false);
}

/// Counts alice's turns.
#[derive(Default)]
struct Turns(AtomicUsize);

impl Hooks for Turns {
    fn reach(&self, point: Point, subject: &str) {
        self.0.fetch_add(usize::from(point == Point::Router && subject == "alice"), Ordering::SeqCst);
    }
}

/// Fairness counted in turns, not in time: turns of a flooded account while another one on its thread waits for its own.
#[actix_web::test]
async fn flooded_account_takes_few_turns_while_another_account_waits() {
    let turns = Arc::new(Turns::default());
    let parts = Parts { hooks: turns.clone(), ..Parts::default() };
    let it = Served::configured(parts, |config| config.accounts.threads = 1).await;
    it.client.linked("alice", ALICE).await;
    it.client.linked("bob", BOB).await;
    it.client.phone(CAROL).await;
    let flood = |world: &mut wharf::sandbox::world::World| {
        for number in 0..1500 {
            world.write_text(CAROL, ALICE, &number.to_string()).unwrap();
        }
    };
    let count = || turns.0.load(Ordering::SeqCst);
    let before = count();
    it.sandbox.world.with(flood).await.unwrap();
    let mut longest = 0;
    while count() < before + 1200 {
        let begun = count();
        assert_eq!(it.client.try_send(it.client.text("bob", CAROL, "fair?")).await.unwrap().status, 202);
        longest = longest.max(count() - begun);
    }
    assert!(longest < 200, "{longest} turns of the flooded account while the other waited");
}
