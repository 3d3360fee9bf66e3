//! The REST interface, from outside.

use crate::served::{KEY, Served, until};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use wharf::app::Parts;
use wharf::base::hooks::{Hooks, Point};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";

#[actix_web::test]
async fn text_is_accepted_and_its_status_reaches_read() {
    let it = Served::start().await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(BOB).await;
    let sent = it.client.try_send(it.client.text("alice", BOB, "hello")).await.unwrap();
    assert_eq!(sent.status, 202);
    let sent = sent.json();
    assert_eq!(sent["status"], "queued");
    assert_eq!(sent["to"], format!("{BOB}@s.whatsapp.net"));
    let path = format!("/v1/accounts/alice/messages/{}", sent["id"].as_str().unwrap());
    let message = until("the message is read", async || {
        Some(it.client.get(&path).await).filter(|message| message["status"] == "read")
    })
    .await;
    assert_eq!(message["recipients"][0]["jid"], format!("{BOB}@s.whatsapp.net"));
    assert_eq!(it.client.read(BOB).await, ["hello"]);
}

#[actix_web::test]
async fn qr_code_is_served_as_json_terminal_text_png_and_svg() {
    let it = Served::start().await;
    it.client.post("/v1/accounts", json!({ "id": "alice" })).await;
    it.client.post("/v1/accounts/alice/start", json!({})).await;
    for (accept, holds) in [
        ("application/json", &b"{"[..]),
        ("image/png", b"\x89PNG\r\n"),
        ("image/svg+xml", b"<?xml"),
        ("text/plain", "█".as_bytes()),
    ] {
        let request = it.client.request("GET", "/v1/accounts/alice/qr").header("accept", accept);
        let answer = it.client.try_send(request).await.unwrap();
        assert_eq!(answer.status, 200, "{accept}");
        assert!(answer.content_type.starts_with(accept), "{accept}: {}", answer.content_type);
        assert!(answer.bytes.windows(holds.len()).any(|part| part == holds), "{accept}");
    }
}

#[actix_web::test]
async fn malformed_request_gets_a_problem_that_names_the_fault() {
    let it = Served::start().await;
    it.client.linked("alice", ALICE).await;
    it.client.post("/v1/accounts", json!({ "id": "idle" })).await;
    let text = |to: &str| json!({ "to": to, "type": "text", "text": { "body": "x" } });
    let send = "/v1/accounts/alice/messages";
    for (method, path, body, status, code, said) in [
        ("GET", "/v1/accounts/nobody", json!(null), 404, "account_not_found", "nobody"),
        ("POST", "/v1/accounts/nobody/messages", text(BOB), 404, "account_not_found", "nobody"),
        ("POST", send, text("12x"), 400, "invalid_field", "to: "),
        ("POST", send, text(""), 400, "invalid_field", "to: "),
        ("POST", send, json!({ "to": BOB, "type": "text", "text": { "body": "" } }), 400, "invalid_field", "text.body"),
        ("POST", send, json!({ "to": BOB, "type": "text" }), 400, "invalid_field", "text: "),
        ("POST", send, json!({ "to": BOB, "type": "hologram" }), 400, "invalid_field", "type: "),
        ("POST", send, json!({ "to": BOB, "txt": {} }), 400, "invalid_body", "txt"),
        ("POST", "/v1/accounts/idle/messages", text(BOB), 409, "not_linked", "scan its QR code"),
        ("GET", "/v1/accounts/alice/messages/3EB0", json!(null), 404, "message_not_found", "3EB0"),
        ("GET", "/v1/accounts/alice/qr", json!(null), 409, "no_code", "linked already"),
        ("POST", "/v1/accounts", json!({ "id": "Bad Id" }), 400, "invalid_body", "account id"),
        ("POST", "/v1/accounts", json!({ "id": "alice" }), 409, "account_exists", "alice"),
        ("GET", "/v1/events?after=x-1", json!(null), 410, "cursor_expired", "cursor"),
        ("POST", "/v1/webhooks", json!({ "url": "nowhere" }), 400, "invalid_field", "url"),
        ("DELETE", "/v1/webhooks/wh_0", json!(null), 404, "webhook_not_found", "wh_0"),
        ("GET", "/v1/accounts/idle/qr", json!(null), 409, "no_code", "start the account"),
        ("GET", "/v1/events?limit=many", json!(null), 400, "invalid_query", "limit: "),
        ("GET", "/v1/nothing", json!(null), 404, "not_found", "/v1/nothing"),
    ] {
        let mut request = it.client.request(method, path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = it.client.try_send(request).await.unwrap();
        let problem = answer.json();
        assert_eq!(
            (answer.status, problem["code"].as_str()),
            (status, Some(code)),
            "{method} {path} {body}: {problem}"
        );
        assert_eq!(answer.content_type, "application/problem+json", "{method} {path}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{method} {path}: {problem}");
    }
}

#[actix_web::test]
async fn body_above_the_limit_is_413() {
    let it = Served::start().await;
    let body = json!({ "label": "x".repeat(2 * 1024 * 1024) });
    let answer = it.client.post("/v1/accounts", body).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("body_too_large")));
}

#[actix_web::test]
async fn request_without_a_valid_key_is_401_except_health_checks() {
    let it = Served::start().await;
    for (header, value) in [("authorization", "Bearer wrong"), ("x-api-key", "wrong"), ("x-other", "")] {
        let request = it.client.http.get(format!("{}/v1/accounts", it.client.wharf)).header(header, value);
        assert_eq!(it.client.try_send(request).await.unwrap().status, 401, "{header}");
    }
    let request = it.client.http.get(format!("{}/v1/accounts", it.client.wharf)).header("x-api-key", KEY);
    assert_eq!(it.client.try_send(request).await.unwrap().status, 200);
    for path in ["/healthz", "/readyz"] {
        let request = it.client.http.get(format!("{}{path}", it.client.wharf));
        assert_eq!(it.client.try_send(request).await.unwrap().status, 200, "{path}");
    }
}

#[actix_web::test]
async fn repeated_idempotency_key_sends_one_message() {
    let it = Served::start().await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(BOB).await;
    let request = |body| it.client.text("alice", BOB, body).header("idempotency-key", "k1");
    let first = it.client.try_send(request("once")).await.unwrap();
    let second = it.client.try_send(request("once")).await.unwrap();
    assert_eq!((first.status, first.json()), (202, second.json()));
    let other = it.client.try_send(request("another")).await.unwrap();
    assert_eq!((other.status, other.json()["code"].as_str()), (422, Some("idempotency_mismatch")));
    it.client.try_send(it.client.text("alice", BOB, "last")).await.unwrap();
    let texts = until("the last message is there", async || {
        Some(it.client.read(BOB).await).filter(|texts| texts.last().is_some_and(|text| text == "last"))
    })
    .await;
    assert_eq!(texts, ["once", "last"]);
}

#[actix_web::test]
async fn repeated_creation_gets_the_answer_of_the_first() {
    let it = Served::start().await;
    for path in ["/v1/accounts", "/v1/webhooks"] {
        let body = if path.ends_with("accounts") { json!({}) } else { json!({ "url": "http://127.0.0.1:1/" }) };
        let request = || it.client.request("POST", path).header("idempotency-key", "k").json(&body);
        let first = it.client.try_send(request()).await.unwrap();
        let second = it.client.try_send(request()).await.unwrap();
        assert_eq!((first.status, first.json()), (201, second.json()), "{path}");
    }
    assert_eq!(it.client.get("/v1/accounts").await["data"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn events_are_read_by_cursor_and_by_long_poll() {
    let it = Served::start().await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(BOB).await;
    let all = it.client.get("/v1/events?account=alice").await;
    let after = all["next"].as_str().unwrap().to_owned();
    let waiting = {
        let client = it.client.clone();
        let path = format!("/v1/events?after={after}&type=message.received&wait=10");
        actix_web::rt::spawn(async move { client.get(&path).await })
    };
    it.client.control("POST", &format!("/phones/{BOB}/messages"), Some(json!({ "to": ALICE, "text": "hi" }))).await;
    let page = waiting.await.unwrap();
    let event = &page["data"][0];
    assert_eq!(event["type"], "message.received");
    assert_eq!(event["account"], "alice");
    assert_eq!(event["data"]["text"]["body"], "hi");
    assert!(event["id"].as_str().unwrap().starts_with("evt_"));
    let rest = format!("/v1/events?after={}&type=message.received", page["next"].as_str().unwrap());
    assert_eq!(it.client.get(&rest).await["data"], json!([]));
}

#[actix_web::test]
async fn stopped_account_stays_stopped_until_it_is_started() {
    let it = Served::start().await;
    it.client.linked("alice", ALICE).await;
    it.client.post("/v1/accounts/alice/stop", json!({})).await;
    assert_eq!(it.client.state("alice").await, "stopped");
    it.client.post("/v1/accounts/alice/start", json!({})).await;
    it.client.online("alice").await;
}

/// Counts the commits.
#[derive(Default)]
struct Commits(AtomicUsize);

impl Hooks for Commits {
    fn reach(&self, point: Point, _: &str) {
        self.0.fetch_add(usize::from(point == Point::Synced), Ordering::SeqCst);
    }
}

/// The record and the answer for a repetition are durable together: no crash can separate them.
#[actix_web::test]
async fn webhook_and_its_idempotent_answer_are_one_commit() {
    let commits = Arc::new(Commits::default());
    let it = Served::with(Parts { hooks: commits.clone(), ..Default::default() }).await;
    let count = || commits.0.load(Ordering::SeqCst);
    let before = count();
    let make = async || {
        let body = json!({ "url": "http://127.0.0.1:9/", "events": ["message.received"] });
        let request = it.client.request("POST", "/v1/webhooks").header("idempotency-key", "once").json(&body);
        it.client.try_send(request).await.unwrap().json()
    };
    let first = make().await;
    assert_eq!(count(), before + 1);
    assert_eq!(make().await, first);
    assert_eq!(count(), before + 1);
    assert_eq!(it.client.get("/v1/webhooks").await["data"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn sends_are_refused_with_507_while_free_space_is_below_the_mark() {
    let free = Arc::new(AtomicU64::new(1 << 40));
    let measured = free.clone();
    let free_space: wharf::actors::Measure = Arc::new(move || Some(measured.load(Ordering::SeqCst)));
    let it = Served::with(Parts { free_space: Some(free_space), ..Parts::default() }).await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(BOB).await;
    free.store(255 << 20, Ordering::SeqCst);
    let refused = it.client.try_send(it.client.text("alice", BOB, "refused")).await.unwrap();
    assert_eq!((refused.status, refused.json()["code"].as_str()), (507, Some("no_space")));
    // Incoming messages are still accepted: the mark leaves room for them.
    it.client.control("POST", &format!("/phones/{BOB}/messages"), Some(json!({ "to": ALICE, "text": "in" }))).await;
    until("it is logged", async || (it.client.events("alice", "message.received").await.len() == 1).then_some(()))
        .await;
    free.store(1 << 40, Ordering::SeqCst);
    assert_eq!(it.client.try_send(it.client.text("alice", BOB, "taken")).await.unwrap().status, 202);
}

#[actix_web::test]
async fn metrics_report_commits_and_account_states() {
    let it = Served::start().await;
    it.client.linked("alice", ALICE).await;
    let answer = it.client.try_send(it.client.request("GET", "/metrics")).await.unwrap();
    let text = String::from_utf8(answer.bytes).unwrap();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert_eq!(value("wharf_accounts{state=\"online\"}"), 1.0);
    let (turns, syncs) = (value("wharf_turns_total"), value("wharf_syncs_total"));
    assert!(turns >= 5.0 && syncs >= 1.0 && syncs <= turns + 1.0, "{turns} turns, {syncs} syncs");
    assert_eq!(value("wharf_commit_seconds_count"), turns);
    let (rows, bytes) = (value("wharf_commit_rows_total"), value("wharf_commit_bytes_total"));
    assert!(rows >= turns && bytes > 17.0 * rows, "{rows} rows of {bytes} bytes; a key alone has 17");
    let without = it.client.http.get(format!("{}/metrics", it.client.wharf)).send().await.unwrap();
    assert_eq!(without.status().as_u16(), 401);
}

/// Alerts and panels, which name series and values of their labels: `wharf_accounts{state="unresponsive"}`.
const WATCHED: [&str; 2] = [
    include_str!("../../deploy/helm/wharf/files/rules.yaml"),
    include_str!("../../deploy/helm/wharf/files/dashboard.json"),
];

#[actix_web::test]
async fn every_series_of_alerts_and_panels_is_exported_from_the_first_scrape() {
    let it = Served::start().await;
    let answer = it.client.try_send(it.client.request("GET", "/metrics")).await.unwrap();
    let text = String::from_utf8(answer.bytes).unwrap();
    let mut seen = 0;
    for watched in WATCHED {
        let words = watched.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        for name in words.filter(|word| word.starts_with("wharf_")) {
            let shown = ["{", " "].iter().any(|next| text.contains(&format!("\n{name}{next}")));
            assert!(shown, "{name} is watched, and not shown");
            seen += 1;
        }
        for label in ["state", "kind", "status"] {
            let named = format!(",{label}=");
            let values = watched.split(&named).skip(1).filter_map(|rest| rest.split('"').nth(1));
            for value in values.flat_map(|values| values.split('|')) {
                assert!(text.contains(&format!("{label}=\"{value}\"")), "{label} {value} is watched, and not shown");
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "{seen}");
}

#[actix_web::test]
async fn pending_deliveries_backup_time_and_store_size_are_exported() {
    let it = Served::start().await;
    it.client.linked("alice", ALICE).await;
    let dead_end = json!({ "url": "http://127.0.0.1:9/", "events": ["*"] });
    assert_eq!(it.client.post("/v1/webhooks", dead_end).await.status, 201);
    it.client.phone(BOB).await;
    it.client.control("POST", &format!("/phones/{BOB}/messages"), Some(json!({ "to": ALICE, "text": "hi" }))).await;
    let backup = it.client.try_send(it.client.request("GET", "/v1/admin/backup")).await.unwrap();
    assert_eq!(backup.status, 200);
    until("it shows in the metrics", async || {
        let text = it.client.try_send(it.client.request("GET", "/metrics")).await.unwrap();
        let text = String::from_utf8(text.bytes).unwrap();
        let value =
            |name: &str| -> Option<f64> { text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok() };
        let waiting = value("wharf_deliveries{status=\"pending\"}")? >= 1.0;
        (waiting && value("wharf_backup_timestamp_seconds")? > 1.7e9 && value("wharf_store_bytes").is_some())
            .then_some(())
    })
    .await;
}
