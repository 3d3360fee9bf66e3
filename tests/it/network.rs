//! The sandbox as a program: stored state, TLS, and its media host.

use crate::full_disk::port;
use crate::served::{Client, KEY, MASTER_KEY, until};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use wharf::app::{Parts, Running, Sandbox, SandboxOptions, start, start_sandbox_with};
use wharf::config::{Config, NetworkKind};
use wharf::storage::{MasterKey, MemoryEngine};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";

/// Starts the real program on this port.
async fn sandbox(port: u16, media: u16, data: &Path) -> Child {
    let child = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .args(["sandbox", "--listen", &format!("127.0.0.1:{port}"), "--media", &format!("127.0.0.1:{media}"), "--data"])
        .arg(data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the sandbox is up", async || TcpStream::connect(("127.0.0.1", port)).ok()).await;
    child
}

async fn server(ws_url: String, change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config { listen: "127.0.0.1:0".into(), ..Config::default() };
    config.network.kind = NetworkKind::Sandbox;
    config.network.url = Some(ws_url);
    config.accounts.prekey_batch = 50;
    change(&mut config);
    let engine = Some(Arc::new(MemoryEngine::default()) as _);
    let master_key = MasterKey::parse(MASTER_KEY);
    start(&config, Parts { engine, admin_key: Some(KEY.into()), master_key, ..Parts::default() }).await.unwrap()
}

/// A client that trusts the sandbox's authority.
fn trusting(pem: &str) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
    reqwest::Client::builder().no_proxy().add_root_certificate(root).build().unwrap()
}

#[actix_web::test]
async fn killed_sandbox_continues_from_its_stored_state() {
    let folder = tempfile::tempdir().unwrap();
    let (control, media) = (port(), port());
    let mut first = sandbox(control, media, folder.path()).await;
    let server = server(format!("ws://127.0.0.1:{control}/ws/chat"), |_| {}).await;
    let client = Client::new(format!("http://{}", server.address), format!("http://127.0.0.1:{control}"));
    client.linked("alice", ALICE).await;
    client.phone(BOB).await;
    let group = json!({ "subject": "crew", "creator": BOB, "participants": [ALICE] });
    client.control("POST", "/groups", Some(group)).await;
    assert_eq!(client.try_send(client.text("alice", BOB, "before")).await.unwrap().status, 202);
    client.all_read_once(BOB, &["before".into()]).await;
    client.post("/v1/accounts/alice/stop", json!({})).await;
    for text in ["while away", "and again"] {
        client.control("POST", &format!("/phones/{BOB}/messages"), Some(json!({ "to": ALICE, "text": text }))).await;
    }
    let trusted = async || {
        let root = client.try_send(client.http.get(format!("{}/root-key", client.sandbox))).await.unwrap().bytes;
        let ca = client.try_send(client.http.get(format!("{}/media-ca", client.sandbox))).await.unwrap().bytes;
        (root, ca)
    };
    let before = trusted().await;

    first.kill().unwrap();
    first.wait().unwrap();
    let mut second = sandbox(control, media, folder.path()).await;
    let after = trusted().await;
    assert_eq!(before.0, after.0, "the root that clients trust is the same");
    assert_eq!(client.read(BOB).await, ["before"]);
    let groups = client.control("GET", "/groups", None).await;
    assert_eq!(groups["data"][0]["subject"], "crew");
    client.post("/v1/accounts/alice/start", json!({})).await;
    until("what waited has come", async || (client.events("alice", "message.received").await.len() == 2).then_some(()))
        .await;
    assert_eq!(client.try_send(client.text("alice", BOB, "after")).await.unwrap().status, 202);
    client.all_read_once(BOB, &["before".into(), "after".into()]).await;
    second.kill().unwrap();
    second.wait().unwrap();
    server.stop().await.unwrap();
}

#[actix_web::test]
async fn account_links_and_sends_over_tls_with_a_configured_authority() {
    let folder = tempfile::tempdir().unwrap();
    let options = SandboxOptions {
        listen: "127.0.0.1:0".into(),
        data: Some(folder.path().to_owned()),
        tls: true,
        ..SandboxOptions::default()
    };
    let sandbox = start_sandbox_with(&options).unwrap();
    assert!(sandbox.ws_url().starts_with("wss://"));
    let ca_file = folder.path().join("ca.pem");
    let server = server(sandbox.ws_url(), |config| config.network.ca_file = Some(ca_file.display().to_string())).await;
    let mut client = Client::new(format!("http://{}", server.address), sandbox.control_url());
    client.http = trusting(&std::fs::read_to_string(&ca_file).unwrap());
    client.linked("alice", ALICE).await;
    client.phone(BOB).await;
    client.try_send(client.text("alice", BOB, "over tls")).await.unwrap();
    client.all_read_once(BOB, &["over tls".into()]).await;
    server.stop().await.unwrap();
    sandbox.stop().await;
}

/// A media host, and a client that trusts it.
async fn media_host() -> (Sandbox, reqwest::Client, String, String) {
    let local = || "127.0.0.1:0".to_owned();
    let options = SandboxOptions { listen: local(), media: Some(local()), ..SandboxOptions::default() };
    let sandbox = start_sandbox_with(&options).unwrap();
    let plain = Client::new(String::new(), String::new()).http;
    let ca = plain.get(format!("{}/media-ca", sandbox.control_url())).send().await.unwrap().text().await.unwrap();
    let host = sandbox.media.unwrap().to_string();
    (sandbox, trusting(&ca), host, ca)
}

fn token(body: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(body))
}

#[actix_web::test]
async fn media_are_uploaded_once_and_fetched_whole_or_in_parts() {
    let (sandbox, http, host, _) = media_host().await;
    let body: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    let path = format!("https://{host}/mms/image/{}?auth=a&token=t", token(&body));
    let resume =
        async || http.post(format!("{path}&resume=1")).send().await.unwrap().json::<serde_json::Value>().await.unwrap();
    assert_eq!(resume().await, json!({}));
    let answer = http.post(&path).body(body.clone()).send().await.unwrap();
    let stored: serde_json::Value = answer.json().await.unwrap();
    let url = stored["url"].as_str().unwrap();
    assert_eq!(url, format!("https://{host}{}", stored["direct_path"].as_str().unwrap()));
    assert_eq!(resume().await["resume"], "complete");
    let whole = http.get(format!("{url}?auth=a&token=t")).send().await.unwrap();
    assert_eq!(whole.bytes().await.unwrap(), body);
    let part = http.get(url).header("range", "bytes=100-199").send().await.unwrap();
    assert_eq!(
        (part.status().as_u16(), &part.headers()["content-range"]),
        (206, &"bytes 100-199/200000".parse().unwrap())
    );
    assert_eq!(part.bytes().await.unwrap(), body[100..200]);
    let beyond = http.get(url).header("range", "bytes=200000-").send().await.unwrap();
    assert_eq!(beyond.status(), 416);
    assert_eq!(http.get(format!("{url}x")).send().await.unwrap().status(), 404);
    sandbox.stop().await;
}

#[actix_web::test]
async fn upload_that_does_not_match_its_token_is_refused() {
    let (sandbox, http, host, _) = media_host().await;
    let path = format!("https://{host}/mms/document/{}", token(b"announced"));
    assert_eq!(http.post(&path).body("another").send().await.unwrap().status(), 400);
    let fetched = http.get(format!("https://{host}/v/t62.7118-24/{}", token(b"another"))).send().await.unwrap();
    assert_eq!(fetched.status(), 404);
    sandbox.stop().await;
}

#[actix_web::test]
async fn interrupted_upload_is_resumed() {
    let (sandbox, http, host, ca) = media_host().await;
    let body: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    let (address, path) = (host.clone(), format!("/mms/video/{}?auth=a", token(&body)));
    let (head, first) = (path.clone(), body[..40_000].to_vec());
    // As a client whose connection breaks: the announced length is larger than what it sends.
    tokio::task::spawn_blocking(move || {
        let mut roots = rustls::RootCertStore::empty();
        use rustls::pki_types::{CertificateDer, pem::PemObject};
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(&address).unwrap());
        write!(stream, "POST {head} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 100000\r\n\r\n").unwrap();
        stream.write_all(&first).unwrap();
        stream.flush().unwrap();
        stream.conn.send_close_notify();
        let _ = stream.flush();
        let _ = stream.sock.shutdown(std::net::Shutdown::Write);
        let _ = stream.read(&mut [0; 64]);
    })
    .await
    .unwrap();
    let url = format!("https://{host}{path}");
    let offset = until("the received part is stored", async || {
        let answer = http.post(format!("{url}&resume=1")).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        answer["resume"].as_str()?.parse::<usize>().ok()
    })
    .await;
    assert_eq!(offset, 40_000);
    let rest = http.post(format!("{url}&file_offset={offset}")).body(body[offset..].to_vec()).send().await.unwrap();
    let stored: serde_json::Value = rest.json().await.unwrap();
    let fetched = http.get(stored["url"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(fetched.bytes().await.unwrap(), body);
    sandbox.stop().await;
}

#[actix_web::test]
async fn medium_sent_by_a_phone_is_encrypted_uploaded_and_decrypted_by_the_other() {
    let (sandbox, http, _, _) = media_host().await;
    let mut client = Client::new(String::new(), sandbox.control_url());
    client.http = http;
    client.phone(ALICE).await;
    client.phone(BOB).await;
    let document =
        json!({ "data": "bm90ZXM=", "file_name": "notes.txt", "mime_type": "text/plain", "caption": "read" });
    let body = json!({ "to": BOB, "document": document });
    client.control("POST", &format!("/phones/{ALICE}/messages"), Some(body)).await;
    let read = client.control("GET", &format!("/phones/{BOB}/messages"), None).await;
    let message = &read["data"][0];
    assert_eq!((&message["type"], &message["text"]), (&json!("document"), &json!("read")));
    let sha256 = hex::encode(Sha256::digest(b"notes"));
    let media = json!({ "mime_type": "text/plain", "file_name": "notes.txt", "size": 5, "sha256": sha256 });
    assert_eq!(message["media"], media);
    sandbox.stop().await;
}

#[actix_web::test]
async fn invalid_control_request_is_refused_with_the_reason() {
    let sandbox = wharf::app::start_sandbox("127.0.0.1:0").unwrap();
    let client = Client::new(String::new(), sandbox.control_url());
    client.phone(ALICE).await;
    client.phone(BOB).await;
    let messages = format!("/phones/{ALICE}/messages");
    for (method, path, body, status, code) in [
        ("POST", messages.as_str(), json!({ "to": BOB }), 400, "invalid_body"),
        (
            "POST",
            &messages,
            json!({ "to": BOB, "text": "a", "edit": { "message_id": "1", "text": "b" } }),
            400,
            "invalid_body",
        ),
        ("POST", &messages, json!({ "to": BOB, "image": { "data": "?" } }), 400, "invalid_field"),
        ("POST", &messages, json!({ "to": BOB, "image": { "data": "YQ==" } }), 409, "no_media_host"),
        ("POST", &messages, json!({ "to": "120363000000000000@g.us", "text": "a" }), 404, "recipient_not_found"),
        ("POST", "/groups", json!({ "subject": "s", "creator": "15559999999" }), 404, "phone_not_found"),
        ("POST", "/groups", json!({ "subject": "x".repeat(101), "creator": ALICE }), 403, "refused"),
        ("GET", "/groups/1", json!(null), 404, "group_not_found"),
        ("POST", "/groups/1/participants", json!({ "add": [BOB] }), 404, "group_not_found"),
        ("POST", "/groups/1/participants", json!({}), 400, "invalid_body"),
        ("POST", "/phones/15550001111/enter-code", json!({ "code": "ABCD-1234" }), 409, "code_not_shown"),
        ("POST", "/phones/15550001111/enter-code", json!({ "code": "ABCD" }), 400, "invalid_code"),
        ("DELETE", "/phones/15550001111/companions/3", json!(null), 404, "companion_not_found"),
        ("GET", "/media-ca", json!(null), 409, "no_media_host"),
    ] {
        let request = client.http.request(method.parse().unwrap(), format!("{}{path}", client.sandbox)).json(&body);
        let answer = client.try_send(request).await.unwrap();
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{method} {path} {body}");
    }
    sandbox.stop().await;
}
