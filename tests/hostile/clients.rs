//! A client of the REST interface that is hostile, careless or has no key.

use crate::served::{KEY, Served};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wharf::app::Parts;

const ACCOUNTS: &str = "/v1/accounts";

/// Sends a head, and takes what comes back until the server closes the connection or has answered.
async fn raw(address: SocketAddr, head: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    (stream, String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn post(path: &str, headers: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
}

#[actix_web::test]
async fn a_body_without_a_valid_key_is_refused_before_it_comes() {
    let it = Served::start().await;
    for framing in ["Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n"] {
        for key in ["", "X-Api-Key: wrong\r\n"] {
            let (_stream, answer) = raw(it.running.address, &post(ACCOUNTS, &[framing, key].concat())).await;
            assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        }
    }
}

#[actix_web::test]
async fn what_exists_is_not_told_without_a_key() {
    let it = Served::start().await;
    for (method, path) in [("GET", "/v1/nothing"), ("DELETE", ACCOUNTS), ("POST", "/v1/accounts/nobody/start")] {
        let request = it.client.http.request(method.parse().unwrap(), format!("{}{path}", it.client.wharf));
        assert_eq!(it.client.try_send(request).await.unwrap().status, 401, "{method} {path}");
    }
}

#[actix_web::test]
async fn an_endless_body_behind_an_early_answer_ends_with_its_connection() {
    let it = Served::start().await;
    let with_key = format!("X-Api-Key: {KEY}\r\n");
    for (path, key) in [(ACCOUNTS, ""), (ACCOUNTS, &with_key), ("/nowhere", ""), ("/link/passkey/x/assertion", "")] {
        let head = post(path, &format!("{key}Transfer-Encoding: chunked\r\n"));
        let mut stream = TcpStream::connect(it.running.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let chunk = ["10000\r\n", &"y".repeat(65_536), "\r\n"].concat();
        let sending = async { while stream.write_all(chunk.as_bytes()).await.is_ok() {} };
        assert!(tokio::time::timeout(Duration::from_secs(20), sending).await.is_ok(), "{path} {key}");
    }
}

#[actix_web::test]
async fn a_body_that_comes_too_slowly_is_408() {
    let it = Served::configured(Parts::default(), |config| config.http.body_seconds = 1).await;
    let head = post(ACCOUNTS, &format!("X-Api-Key: {KEY}\r\nContent-Length: 100\r\n"));
    let (_stream, answer) = raw(it.running.address, &head).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_too_slow"), "{answer}");
}

#[actix_web::test]
async fn an_address_with_too_many_connections_is_429_until_one_ends() {
    let it = Served::configured(Parts::default(), |config| config.http.connections_per_address = 2).await;
    let head = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let held = [raw(it.running.address, head).await, raw(it.running.address, head).await];
    let (mut third, refused) = raw(it.running.address, head).await;
    assert!(held.iter().all(|(_, answer)| answer.starts_with("HTTP/1.1 200")));
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("too_many_connections"), "{refused}");
    assert_eq!(third.read(&mut [0]).await.unwrap(), 0, "the refused connection is closed");
}

#[actix_web::test]
async fn a_key_that_merely_begins_like_the_right_one_is_401() {
    let it = Served::start().await;
    for key in [&KEY[..KEY.len() - 1], &format!("{KEY}x"), &KEY.to_uppercase(), ""] {
        let request = it.client.http.get(format!("{}{ACCOUNTS}", it.client.wharf)).header("x-api-key", key);
        assert_eq!(it.client.try_send(request).await.unwrap().status, 401, "{key:?}");
    }
}

#[actix_web::test]
async fn equal_creations_at_once_under_one_key_create_one() {
    let it = Served::start().await;
    for (path, body) in
        [(ACCOUNTS, json!({ "label": "x" })), ("/v1/webhooks", json!({ "url": "https://bot.example/" }))]
    {
        let create = || it.client.try_send(it.client.request("POST", path).header("idempotency-key", "k").json(&body));
        let answers: Vec<Value> =
            join_all((0..50).map(|_| create())).await.into_iter().map(|it| it.unwrap().json()).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0] && answer["id"].is_string()), "{path}: {answers:?}");
        assert_eq!(it.client.get(path).await["data"].as_array().unwrap().len(), 1, "{path}");
    }
}

#[actix_web::test]
async fn a_repetition_by_another_spelling_of_the_path_is_the_same_request() {
    let it = Served::start().await;
    it.client.linked("alice", "15550001111").await;
    it.client.phone("15550002222").await;
    let message = json!({ "to": "15550002222", "text": { "body": "once" } });
    let send = async |path: &str| {
        let request = it.client.request("POST", path).header("idempotency-key", "k").json(&message);
        it.client.try_send(request).await.unwrap()
    };
    let first = send("/v1/accounts/alice/messages").await.json()["id"].clone();
    assert!(first.is_string());
    for path in ["/v1/accounts/%61lice/messages", "/v1/accounts/alice/m%65ssages"] {
        let again = send(path).await;
        assert!(again.status == 404 || again.json()["id"] == first, "{path}: {} {}", again.status, again.json());
    }
    for path in ["/v1/accounts/alice/messages/", "/v1//accounts/alice/messages", "/v1/accounts//alice/messages"] {
        assert_eq!(send(path).await.status, 404, "{path}");
    }
}

#[actix_web::test]
async fn a_repeated_action_has_no_further_effect() {
    let it = Served::start().await;
    it.client.post(ACCOUNTS, json!({ "id": "alice" })).await;
    let action = async |path: &str, key: &str| {
        let request = it.client.request("POST", &format!("/v1/accounts/alice/{path}")).header("idempotency-key", key);
        it.client.try_send(request).await.unwrap().json()["state"].clone()
    };
    let started = action("start", "k").await;
    assert_eq!(action("stop", "k").await, "stopped");
    assert_eq!(action("start", "k").await, started, "the answer of the first");
    assert_eq!(it.client.state("alice").await, "stopped");
}

#[actix_web::test]
async fn one_key_for_two_accounts_is_two_requests() {
    let it = Served::start().await;
    for id in ["alice", "bob"] {
        it.client.post(ACCOUNTS, json!({ "id": id })).await;
        let request = it.client.request("POST", &format!("/v1/accounts/{id}/stop")).header("idempotency-key", "k");
        assert_eq!(it.client.try_send(request).await.unwrap().json()["id"], id);
        assert_eq!(it.client.state(id).await, "stopped");
    }
}

#[actix_web::test]
async fn head_is_answered_as_get_without_a_body() {
    let it = Served::start().await;
    for path in ["/healthz", "/readyz", ACCOUNTS, "/v1/events"] {
        let answer = it.client.try_send(it.client.request("HEAD", path)).await.unwrap();
        assert_eq!((answer.status, answer.bytes.len()), (200, 0), "{path}");
    }
}

#[actix_web::test]
async fn answers_are_kept_out_of_caches_and_are_not_guessed_at() {
    let it = Served::start().await;
    for path in [ACCOUNTS, "/v1/events", "/v1/nothing", "/healthz"] {
        let answer = it.client.request("GET", path).send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("cache-control").as_deref(), Some("no-store"), "{path}");
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"), "{path}");
    }
}
