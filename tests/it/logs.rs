//! Logs: no message, no full phone number and no key at any level; state changes at `info`.

use crate::full_disk::{configured, port, up};
use crate::served::{Client, KEY, Served, until};
use crate::supervision::PanicAt;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use wharf::app::{Parts, start_sandbox};
use wharf::base::hooks::Point;

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";
/// Numbers unknown to the service, and a group of the old form, which names its creator.
const STRANGER: &str = "15550008888";
const UNLINKED: &str = "15550009999";
const CREATOR: &str = "15550007777";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[actix_web::test]
async fn log_of_every_level_holds_no_secret() {
    let captured = Captured::default();
    let writer = captured.clone();
    tracing_subscriber::fmt()
        .with_env_filter("wharf=trace")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let hooks = PanicAt::new(&[Point::SessionCipher]);
    let it = Served::with(Parts { hooks: hooks.clone(), ..Parts::default() }).await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(BOB).await;
    let hook = json!({ "url": "http://127.0.0.1:1/planted-path", "headers": { "x-token": "planted-token" } });
    let secret = it.client.post("/v1/webhooks", hook).await.json()["secret"].as_str().unwrap().to_owned();
    it.client.try_send(it.client.text("alice", BOB, "planted-text-out")).await.unwrap();
    let codes = refusals(&it).await;
    hooks.arm();
    let message = json!({ "to": ALICE, "text": "planted-text-in" });
    it.client.control("POST", &format!("/phones/{BOB}/messages"), Some(message)).await;
    it.client.all_read_once(BOB, &["planted-text-out".to_owned()]).await;
    until("all of it is logged", async || {
        let log = captured.text();
        let has = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
        let refused = ["account=unlinked", "account=alice"].iter().all(|account| has(&[account, "refused"]));
        (refused && has(&["webhook delivery failed"]) && has(&["planted at"])).then_some(())
    })
    .await;
    let log = captured.text();
    for level in ["DEBUG", "INFO", "WARN", "ERROR"] {
        assert!(log.contains(level), "{level} is not covered");
    }
    let numbers = [ALICE, BOB, STRANGER, UNLINKED, CREATOR];
    let codes = codes.iter().map(String::as_str);
    for planted in numbers.into_iter().chain(["planted-", KEY, &secret]).chain(codes) {
        let line = log.lines().find(|line| line.contains(planted));
        assert_eq!(line, None, "{planted:?} stands in the log");
    }
}

/// Sends requests that the server or the service refuses. Returns the secrets in their answers.
async fn refusals(it: &Served) -> Vec<String> {
    let client = &it.client;
    client.try_send(client.text("alice", STRANGER, "planted-to-nobody")).await.unwrap();
    client.try_send(client.text("alice", &format!("{CREATOR}-1500000000@g.us"), "planted-to-group")).await.unwrap();
    for to in ["planted-recipient", &format!("{STRANGER}@planted.example"), &format!("{STRANGER}:1:2@lid")] {
        let refused = client.try_send(client.text("alice", to, "planted-refused")).await.unwrap();
        assert_eq!(refused.status, 400, "{to}");
    }
    let unknown = client.try_send(client.text("planted-account", BOB, "planted-refused")).await.unwrap();
    assert_eq!(unknown.status, 404);
    let keyless = client.http.get(format!("{}/v1/accounts", client.wharf)).bearer_auth("planted-key");
    assert_eq!(client.try_send(keyless).await.unwrap().status, 401);
    // Bob's phone accepts a code; the service refuses one for an unregistered number.
    let mut codes = Vec::new();
    for (account, number) in [("coded", BOB), ("unlinked", UNLINKED)] {
        assert_eq!(client.post("/v1/accounts", json!({ "id": account })).await.status, 201);
        let path = format!("/v1/accounts/{account}/pairing-code");
        let answer = client.post(&path, json!({ "phone": number })).await;
        codes.extend(answer.json()["code"].as_str().map(str::to_owned));
    }
    let fault = json!({ "kind": "refuse", "code": 479, "account": ALICE });
    client.control("POST", "/faults", Some(fault)).await;
    client.try_send(client.text("alice", BOB, "planted-refused")).await.unwrap();
    let status = async || {
        let events = client.events("alice", "message.status").await;
        events.iter().any(|data| data["code"] == "service_479").then_some(())
    };
    until("a message is refused by the service", status).await;
    codes
}

/// The real program, with its log in a file.
fn serve(folder: &Path, port: u16, url: &str, settings: &[(&str, &str)]) -> Child {
    let log = File::create(folder.join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    let command = configured(command.arg("serve"), &folder.join("data"), port, url).stderr(log);
    command.envs(settings.iter().copied()).env_remove("RUST_LOG").spawn().unwrap()
}

/// Lines of a log in JSON.
fn lines(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("log")).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The last line about alice with this state.
fn change_to(folder: &Path, state: &str) -> Option<Value> {
    let lines = lines(folder).into_iter().rev().map(|mut line| line["fields"].take());
    let is_it = |fields: &Value| fields["message"] == "account state changed" && fields["account"] == "alice";
    lines.into_iter().find(|fields| is_it(fields) && fields["state"] == state)
}

#[actix_web::test]
async fn info_log_tells_the_settings_at_start_and_every_change_of_an_accounts_state() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = start_sandbox("127.0.0.1:0").unwrap();
    let (port, url) = (port(), sandbox.ws_url());
    let client = Client::new(format!("http://127.0.0.1:{port}"), format!("http://{}", sandbox.address));
    let settings = [("WHARF__LOG", "info"), ("WHARF__LOG_FORMAT", "json")];
    let mut server = serve(folder.path(), port, &url, &settings);
    up(&client).await;
    client.linked("alice", ALICE).await;
    let started = lines(folder.path()).into_iter().find(|line| line["fields"]["message"] == "server started").unwrap();
    assert_eq!(started["level"], "INFO");
    for (field, value) in [("network", json!("sandbox")), ("url", json!(url)), ("seal", json!(true))] {
        assert_eq!(started["fields"][field], value, "{field}");
    }
    assert_eq!(started["fields"]["listen"], format!("127.0.0.1:{port}"));
    assert_eq!(started["fields"]["data"], folder.path().join("data").display().to_string());

    let online = change_to(folder.path(), "online").unwrap();
    assert_eq!(online["jid"], "…1111:1@s.whatsapp.net", "{online}");
    assert!(change_to(folder.path(), "linking").is_some());
    sandbox.stop().await;
    let reconnecting = until("the outage is logged", async || change_to(folder.path(), "reconnecting")).await;
    assert!(reconnecting["reason"].is_string() && reconnecting["next_attempt"].is_string(), "{reconnecting}");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[actix_web::test]
async fn removed_device_is_logged_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = start_sandbox("127.0.0.1:0").unwrap();
    let (port, url) = (port(), sandbox.ws_url());
    let client = Client::new(format!("http://127.0.0.1:{port}"), format!("http://{}", sandbox.address));
    // At this level dependencies log a lot, too.
    let settings = [("WHARF__LOG", "debug"), ("WHARF__LOG_FORMAT", "json")];
    let mut server = serve(folder.path(), port, &url, &settings);
    up(&client).await;
    client.linked("alice", ALICE).await;
    client.control("DELETE", &format!("/phones/{ALICE}/companions/1"), None).await;
    let removed = until("the removal is logged", async || change_to(folder.path(), "logged_out")).await;
    assert_eq!((&removed["from"], removed["reason"].is_string()), (&json!("online"), true), "{removed}");
    for line in lines(folder.path()) {
        let target = line["target"].as_str().unwrap();
        assert!(target.starts_with("wharf"), "a dependency logs at debug: {line}");
    }
    server.kill().unwrap();
    server.wait().unwrap();
}
