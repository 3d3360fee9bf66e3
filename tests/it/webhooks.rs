//! Webhook deliveries, received by a test server.

use crate::served::{Served, until};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wharf::app::Parts;
use wharf::base::time::{Clock, Monotonic, SystemClock, Timestamp};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";

#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    path: String,
    id: String,
    timestamp: String,
    signature: String,
    body: String,
}

/// An endpoint that gives prepared answers and records its requests.
#[derive(Clone)]
pub struct Hook {
    pub url: String,
    pub hits: Arc<Mutex<Vec<Hit>>>,
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Hook {
    /// Answers with these status codes first, then with 200.
    pub fn start(answers: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let answers = answers.iter().rev().copied().collect();
        let hook = Self { url, hits: Arc::default(), answers: Arc::new(Mutex::new(answers)) };
        let state = web::Data::new(hook.clone());
        let server = HttpServer::new(move || {
            App::new().app_data(state.clone()).route(
                "/{path}",
                web::post().to(|hook: web::Data<Self>, request: HttpRequest, body: String| async move {
                    let header = |name: &str| request.headers().get(name).unwrap().to_str().unwrap().to_owned();
                    hook.hits.lock().unwrap().push(Hit {
                        path: request.path().to_owned(),
                        id: header("webhook-id"),
                        timestamp: header("webhook-timestamp"),
                        signature: header("webhook-signature"),
                        body,
                    });
                    let status = hook.answers.lock().unwrap().pop().unwrap_or(200);
                    let mut answer = HttpResponse::build(status.try_into().unwrap());
                    answer.insert_header(("location", "/elsewhere")).finish()
                }),
            )
        });
        actix_web::rt::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());
        hook
    }

    async fn hits(&self, count: usize) -> Vec<Hit> {
        until("the webhook was called", async || {
            Some(self.hits.lock().unwrap().clone()).filter(|hits| hits.len() >= count)
        })
        .await
    }
}

async fn served() -> Served {
    served_by(Parts::default()).await
}

async fn served_by(parts: Parts) -> Served {
    let retry_steps = vec![Duration::from_millis(50); 2];
    let it = Served::with(Parts { retry_steps, ..parts }).await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(BOB).await;
    it
}

async fn subscribe(it: &Served, hook: &Hook) -> String {
    let answer = it.client.post("/v1/webhooks", json!({ "url": hook.url, "events": ["message.received"] })).await;
    assert_eq!(answer.status, 201);
    answer.json()["secret"].as_str().unwrap().to_owned()
}

async fn bob_writes(it: &Served, text: &str) {
    it.client.control("POST", &format!("/phones/{BOB}/messages"), Some(json!({ "to": ALICE, "text": text }))).await;
}

#[actix_web::test]
async fn delivery_is_the_event_signed_by_standard_webhooks() {
    let it = served().await;
    let hook = Hook::start(&[]);
    let secret = subscribe(&it, &hook).await;
    bob_writes(&it, "hello").await;
    let hit = hook.hits(1).await.remove(0);
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.{}", hit.id, hit.timestamp, hit.body).as_bytes());
    assert_eq!(hit.signature, format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
    let logged = it.client.get("/v1/events?type=message.received").await;
    let event: serde_json::Value = serde_json::from_str(&hit.body).unwrap();
    assert_eq!(event, logged["data"][0]);
    assert_eq!(event["id"], hit.id);
    assert_eq!(event["data"]["text"]["body"], "hello");
}

#[actix_web::test]
async fn failed_delivery_is_retried_with_identical_bytes_and_keeps_its_place_in_the_chat() {
    let it = served().await;
    let hook = Hook::start(&[500, 503]);
    subscribe(&it, &hook).await;
    bob_writes(&it, "first").await;
    bob_writes(&it, "second").await;
    let hits = hook.hits(4).await;
    assert_eq!((&hits[0].id, &hits[0].body), (&hits[1].id, &hits[1].body));
    assert_eq!((&hits[0].id, &hits[0].body), (&hits[2].id, &hits[2].body));
    assert!(hits[0].body.contains("first") && hits[3].body.contains("second"));
}

#[actix_web::test]
async fn dead_delivery_releases_its_lane() {
    let it = served().await;
    let hook = Hook::start(&[500, 500, 500]);
    subscribe(&it, &hook).await;
    bob_writes(&it, "dead").await;
    bob_writes(&it, "alive").await;
    let hits = hook.hits(4).await;
    assert!(hits[..3].iter().all(|hit| hit.body.contains("dead")));
    assert!(hits[3].body.contains("alive"));
}

#[actix_web::test]
async fn endpoint_that_answers_410_is_disabled() {
    let it = served().await;
    let hook = Hook::start(&[410]);
    subscribe(&it, &hook).await;
    bob_writes(&it, "only one").await;
    hook.hits(1).await;
    until("the webhook is disabled", async || {
        let webhooks = it.client.get("/v1/webhooks").await;
        (webhooks["data"][0]["disabled"] == true).then_some(())
    })
    .await;
    bob_writes(&it, "no more").await;
    until("the second message is logged", async || {
        (it.client.events("alice", "message.received").await.len() == 2).then_some(())
    })
    .await;
    assert_eq!(hook.hits(1).await.len(), 1);
}

#[actix_web::test]
async fn redirect_is_a_failed_attempt_and_is_not_followed() {
    let it = served().await;
    let hook = Hook::start(&[307, 308]);
    subscribe(&it, &hook).await;
    bob_writes(&it, "stay").await;
    assert!(hook.hits(3).await.iter().all(|hit| hit.path == "/hook"));
}

#[actix_web::test]
async fn endpoint_that_hangs_holds_up_no_other() {
    let it = served().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs = format!("http://{}/", silent.local_addr().unwrap());
    let hook = Hook::start(&[]);
    for url in [&hangs, &hook.url] {
        it.client.post("/v1/webhooks", json!({ "url": url, "events": ["message.status"] })).await;
    }
    for chat in 0..100 {
        it.client.try_send(it.client.text("alice", &format!("1555100{chat:04}"), "hello")).await.unwrap();
    }
    let clock = SystemClock::start();
    hook.hits(100).await;
    // A hanging attempt ends after 15 s.
    assert!(clock.steady() < Monotonic(8000), "{:?}", clock.steady());
}

/// The machine's clock, and a wall clock that can be set.
struct Settable(SystemClock, AtomicU64);

impl Clock for Settable {
    fn now(&self) -> Timestamp {
        match self.1.load(Ordering::SeqCst) {
            0 => self.0.now(),
            set => Timestamp(set),
        }
    }

    fn steady(&self) -> Monotonic {
        self.0.steady()
    }
}

#[actix_web::test]
async fn retry_comes_in_time_when_the_clock_is_set_back() {
    let clock = Arc::new(Settable(SystemClock::start(), AtomicU64::new(0)));
    let it = served_by(Parts { clock: clock.clone(), ..Parts::default() }).await;
    let hook = Hook::start(&[500, 500]);
    subscribe(&it, &hook).await;
    bob_writes(&it, "in time").await;
    hook.hits(1).await;
    clock.1.store(1000, Ordering::SeqCst);
    hook.hits(3).await;
    bob_writes(&it, "in 1970").await;
    hook.hits(4).await;
}
