//! Linking and account settings by REST: pairing codes, passkeys, log-out and linking again, proxies.

use crate::served::{Served, until};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use wharf::app::Parts;
use wharf::storage::{Engine, MemoryEngine};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";

async fn account(it: &Served, id: &str) {
    it.client.phone(ALICE).await;
    it.client.post("/v1/accounts", json!({ "id": id })).await;
}

async fn call(it: &Served, method: &str, path: &str, body: Value) -> (u16, Value) {
    let answer = it.client.try_send(it.client.request(method, path).json(&body)).await.unwrap();
    (answer.status, answer.json())
}

async fn said(it: &Served, text: &str) {
    it.client.phone(BOB).await;
    let sent = it.client.try_send(it.client.text("alice", BOB, text)).await.unwrap();
    assert_eq!(sent.status, 202);
    it.client.all_read_once(BOB, &[text.to_owned()]).await;
}

#[actix_web::test]
async fn pairing_code_links_an_account() {
    let it = Served::start().await;
    account(&it, "alice").await;
    let (status, body) = call(&it, "POST", "/v1/accounts/alice/pairing-code", json!({ "phone": "nobody" })).await;
    assert_eq!((status, &body["code"]), (400, &json!("invalid_field")));
    let (status, body) = call(&it, "POST", "/v1/accounts/alice/pairing-code", json!({ "phone": "19998887777" })).await;
    assert_eq!((status, &body["code"]), (409, &json!("no_code")), "the number is unregistered");
    let (status, body) = call(&it, "POST", "/v1/accounts/alice/pairing-code", json!({ "phone": ALICE })).await;
    assert_eq!(status, 200, "{body}");
    it.client.control("POST", &format!("/phones/{ALICE}/enter-code"), Some(json!({ "code": body["code"] }))).await;
    it.client.online("alice").await;
    said(&it, "by code").await;
    let (status, body) = call(&it, "POST", "/v1/accounts/alice/pairing-code", json!({ "phone": ALICE })).await;
    assert_eq!((status, &body["code"]), (409, &json!("already_linked")));
}

/// Alice's phone requires a passkey, and has scanned the account's code.
async fn asked_for_passkey(it: Served) -> Served {
    account(&it, "alice").await;
    it.client.control("PUT", &format!("/phones/{ALICE}/passkey"), Some(json!({ "required": true }))).await;
    assert_eq!(call(&it, "GET", "/v1/accounts/alice/passkey", json!(null)).await.0, 409);
    it.client.post("/v1/accounts/alice/start", json!({})).await;
    let code = it.client.get("/v1/accounts/alice/qr").await["code"].clone();
    it.client.control("POST", &format!("/phones/{ALICE}/scan"), Some(json!({ "qr": code }))).await;
    until("a passkey is asked for", async || (it.client.state("alice").await == "passkey_required").then_some(()))
        .await;
    it
}

#[actix_web::test]
async fn passkey_assertion_links_an_account() {
    let it = asked_for_passkey(Served::start().await).await;
    let (status, asked) = call(&it, "GET", "/v1/accounts/alice/passkey", json!(null)).await;
    assert_eq!((status, &asked["options"]["rpId"]), (200, &json!("whatsapp.com")));
    let (status, refused) = call(&it, "POST", "/v1/accounts/alice/passkey", json!({ "type": "public-key" })).await;
    assert_eq!((status, &refused["code"]), (400, &json!("invalid_body")));
    let early = call(&it, "POST", "/v1/accounts/alice/passkey/confirm", json!({})).await;
    assert_eq!((early.0, &early.1["code"]), (409, &json!("passkey_under_way")));
    let sign = format!("/phones/{ALICE}/passkey/sign");
    let assertion = it.client.control("POST", &sign, Some(asked["options"].clone())).await;
    assert_eq!(call(&it, "POST", "/v1/accounts/alice/passkey", assertion).await.0, 202);
    it.client.online("alice").await;
    said(&it, "with a passkey").await;
}

#[actix_web::test]
async fn one_time_link_serves_a_page_and_accepts_the_assertion_without_a_key() {
    let it = asked_for_passkey(Served::start().await).await;
    let (_, asked) = call(&it, "GET", "/v1/accounts/alice/passkey", json!(null)).await;
    let url = asked["url"].as_str().unwrap().to_owned();
    let page = it.client.http.get(&url).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    assert!(page.text().await.unwrap().contains("Link with a passkey"));
    let state: Value = it.client.http.get(format!("{url}/state")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&state["account"], &state["options"]), (&json!("alice"), &asked["options"]));
    let preflight = it.client.http.request(reqwest::Method::OPTIONS, format!("{url}/assertion")).send().await.unwrap();
    assert_eq!(preflight.headers()["access-control-allow-origin"], "https://web.whatsapp.com");
    let wrong = it.client.http.get(format!("{}x/state", &url[..url.len() - 1])).send().await.unwrap();
    assert_eq!(wrong.status(), 404);
    let sign = format!("/phones/{ALICE}/passkey/sign");
    let assertion = it.client.control("POST", &sign, Some(asked["options"].clone())).await;
    let handed = it.client.http.post(format!("{url}/assertion")).body(assertion.to_string()).send().await.unwrap();
    assert_eq!(handed.status(), 202);
    it.client.online("alice").await;
    let over = it.client.http.get(format!("{url}/state")).send().await.unwrap();
    assert_eq!(over.status(), 404, "the link is used up");
}

#[actix_web::test]
async fn one_time_link_leads_to_this_server_whatever_the_request_says_of_its_host() {
    let it = asked_for_passkey(Served::start().await).await;
    for (name, value) in
        [("x-forwarded-host", "evil.example"), ("forwarded", "host=evil.example"), ("host", "evil.example")]
    {
        let request = it.client.request("GET", "/v1/accounts/alice/passkey").header(name, value);
        let url = it.client.try_send(request).await.unwrap().json()["url"].as_str().unwrap().to_owned();
        assert!(url.starts_with(&format!("{}/link/passkey/", it.client.wharf)), "{name}: {url}");
    }
}

#[actix_web::test]
async fn one_time_link_leads_to_the_public_address_of_the_settings() {
    let public = |config: &mut wharf::config::Config| config.http.public_url = Some("https://wharf.example".into());
    let it = asked_for_passkey(Served::configured(Parts::default(), public).await).await;
    let (_, asked) = call(&it, "GET", "/v1/accounts/alice/passkey", json!(null)).await;
    assert!(asked["url"].as_str().unwrap().starts_with("https://wharf.example/link/passkey/"), "{asked}");
}

#[actix_web::test]
async fn start_of_a_logged_out_account_links_a_new_device() {
    let it = Served::start().await;
    it.client.linked("alice", ALICE).await;
    said(&it, "before").await;
    let (status, body) = call(&it, "POST", "/v1/accounts/alice/logout", json!({})).await;
    assert_eq!((status, &body["state"]), (200, &json!("logged_out")));
    until("the companion is gone", async || {
        let phone = it.client.control("GET", &format!("/phones/{ALICE}"), None).await;
        phone["companions"].as_array()?.is_empty().then_some(())
    })
    .await;
    let (status, body) =
        call(&it, "POST", "/v1/accounts/alice/messages", json!({ "to": BOB, "text": { "body": "x" } })).await;
    assert_eq!((status, &body["code"]), (409, &json!("not_linked")));
    call(&it, "POST", "/v1/accounts/alice/restart", json!({})).await;
    until("it is still logged out", async || (it.client.state("alice").await == "logged_out").then_some(())).await;
    assert_eq!(call(&it, "POST", "/v1/accounts/alice/start", json!({})).await.0, 200);
    let code = it.client.get("/v1/accounts/alice/qr").await["code"].clone();
    it.client.control("POST", &format!("/phones/{ALICE}/scan"), Some(json!({ "qr": code }))).await;
    it.client.online("alice").await;
    said(&it, "after").await;
    assert_eq!(it.client.read(BOB).await, ["before", "after"]);
}

#[actix_web::test]
async fn removed_device_fails_its_queued_messages_and_can_be_linked_again() {
    let it = Served::start().await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(BOB).await;
    it.client.control("POST", "/faults", Some(json!({ "kind": "swallow", "account": ALICE, "count": 9 }))).await;
    let sent = it.client.try_send(it.client.text("alice", BOB, "too late")).await.unwrap().json();
    it.client.control("DELETE", &format!("/phones/{ALICE}/companions/1"), None).await;
    until("it is logged out", async || (it.client.state("alice").await == "logged_out").then_some(())).await;
    call(&it, "POST", "/v1/accounts/alice/start", json!({})).await;
    let message = it.client.get(&format!("/v1/accounts/alice/messages/{}", sent["id"].as_str().unwrap())).await;
    assert_eq!((&message["status"], &message["code"]), (&json!("failed"), &json!("logged_out")));
}

#[actix_web::test]
async fn account_settings_are_changed_field_by_field() {
    let it = Served::start().await;
    account(&it, "alice").await;
    let path = "/v1/accounts/alice";
    let change = json!({ "label": "Support", "metadata": { "team": 7 }, "device_name": "Harbour" });
    let (status, body) = call(&it, "PATCH", path, change).await;
    assert_eq!(
        (status, &body["label"], &body["metadata"]["team"], &body["device_name"]),
        (200, &json!("Support"), &json!(7), &json!("Harbour"))
    );
    let (_, body) = call(&it, "PATCH", path, json!({ "label": null, "proxy": "socks5://u:secret@127.0.0.1:9" })).await;
    assert_eq!((&body["label"], &body["device_name"]), (&json!(null), &json!("Harbour")));
    assert_eq!(body["proxy"], "socks5://u:***@127.0.0.1:9");
    for (wrong, code) in [
        (json!({ "proxy": "ftp://x" }), "invalid_field"),
        (json!({ "device_name": "" }), "invalid_field"),
        (json!({ "colour": "blue" }), "invalid_body"),
    ] {
        let (status, body) = call(&it, "PATCH", path, wrong).await;
        assert_eq!((status, &body["code"]), (400, &json!(code)));
    }
}

/// A proxy that counts the tunnels it has made: of HTTP with a password, or of SOCKS5 without.
async fn proxy(is_http: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tunnels = Arc::new(AtomicUsize::new(0));
    let made = tunnels.clone();
    actix_web::rt::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let made = made.clone();
            actix_web::rt::spawn(async move {
                let target = if is_http { http_target(&mut client).await } else { socks_target(&mut client).await };
                let mut service = TcpStream::connect(target).await.unwrap();
                made.fetch_add(1, Ordering::SeqCst);
                let _ = copy_bidirectional(&mut client, &mut service).await;
            });
        }
    });
    let url = if is_http { format!("http://bot:s%20t@127.0.0.1:{port}") } else { format!("socks5://127.0.0.1:{port}") };
    (url, tunnels)
}

async fn http_target(client: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("Proxy-Authorization: Basic Ym90OnMgdA=="), "{head}");
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    head.split(' ').nth(1).unwrap().to_owned()
}

async fn socks_target(client: &mut TcpStream) -> String {
    let mut greeting = [0; 2];
    client.read_exact(&mut greeting).await.unwrap();
    let mut methods = vec![0; usize::from(greeting[1])];
    client.read_exact(&mut methods).await.unwrap();
    client.write_all(&[5, 0]).await.unwrap();
    let mut request = [0; 4];
    client.read_exact(&mut request).await.unwrap();
    let host = match request[3] {
        1 => {
            let mut address = [0; 4];
            client.read_exact(&mut address).await.unwrap();
            std::net::Ipv4Addr::from(address).to_string()
        }
        _ => {
            let mut name = vec![0; usize::from(client.read_u8().await.unwrap())];
            client.read_exact(&mut name).await.unwrap();
            String::from_utf8(name).unwrap()
        }
    };
    let port = client.read_u16().await.unwrap();
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    format!("{host}:{port}")
}

#[actix_web::test]
async fn account_connects_through_its_proxy_and_other_accounts_directly() {
    for is_http in [true, false] {
        let it = Served::start().await;
        let (url, tunnels) = proxy(is_http).await;
        account(&it, "alice").await;
        call(&it, "PATCH", "/v1/accounts/alice", json!({ "proxy": url })).await;
        it.client.post("/v1/accounts/alice/start", json!({})).await;
        let code = it.client.get("/v1/accounts/alice/qr").await["code"].clone();
        it.client.control("POST", &format!("/phones/{ALICE}/scan"), Some(json!({ "qr": code }))).await;
        it.client.online("alice").await;
        said(&it, "through a proxy").await;
        let made = tunnels.load(Ordering::SeqCst);
        assert!(made >= 2, "one to be linked, one to log in");
        it.client.linked("other", "15550003333").await;
        assert_eq!(tunnels.load(Ordering::SeqCst), made);
    }
}

#[actix_web::test]
async fn unreachable_proxy_is_named_in_the_reason_without_its_password() {
    let it = Served::start().await;
    account(&it, "alice").await;
    call(&it, "PATCH", "/v1/accounts/alice", json!({ "proxy": "http://bot:hush@127.0.0.1:1" })).await;
    it.client.post("/v1/accounts/alice/start", json!({})).await;
    let reason = until("the reason is told", async || {
        let account = it.client.get("/v1/accounts/alice").await;
        account["reason"].as_str().filter(|reason| reason.contains("proxy")).map(str::to_owned)
    })
    .await;
    assert!(reason.contains("127.0.0.1:1") && !reason.contains("hush"), "{reason}");
}

#[actix_web::test]
async fn client_version_is_fetched_and_stored() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/sw.js", listener.local_addr().unwrap());
    actix_web::rt::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = vec![0; 1024];
            let _ = client.read(&mut head).await;
            let body = r#"self.x={"client_revision":1099999999}"#;
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _ = client.write_all(answer.as_bytes()).await;
        }
    });
    let engine = Arc::new(MemoryEngine::default());
    let parts = Parts { engine: Some(engine.clone()), ..Parts::default() };
    let it = Served::configured(parts, |config| {
        config.network.version_url = Some(url);
        config.storage.seal = false;
    })
    .await;
    until("the version is stored", async || {
        let rows = engine.copy(&[]).unwrap();
        rows.iter().any(|(_, value)| String::from_utf8_lossy(value).contains("1099999999 ")).then_some(())
    })
    .await;
    it.client.linked("alice", ALICE).await;
}

#[actix_web::test]
async fn private_proxy_address_is_refused_unless_allowed() {
    let it = Served::configured(Parts::default(), |config| config.network.allow_private_proxies = Some(false)).await;
    account(&it, "alice").await;
    for private in ["http://127.0.0.1:3128", "socks5://localhost:1", "socks5://0:1"] {
        let (status, body) = call(&it, "PATCH", "/v1/accounts/alice", json!({ "proxy": private })).await;
        assert_eq!((status, &body["code"]), (400, &json!("invalid_field")), "{private}");
    }
}
