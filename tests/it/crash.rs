//! `kill -9` of the real program during a stream of sends and receipts.

use crate::served::{Client, KEY, until};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use wharf::app::start_sandbox;

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";
const PERSON: &str = "15550003333";
const KILLS: usize = 20;
/// Messages each way in one round.
const STREAM: usize = 60;
const SEED: u64 = 7;

fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn serve(data: &Path, port: u16, url: &str) -> Child {
    spawn(Command::new(env!("CARGO_BIN_EXE_wharf")).arg("serve"), data, port, url)
}

/// A disk with room for this many KiB: beyond it every write fails.
fn serve_with_room_for(kib: u32, data: &Path, port: u16, url: &str) -> Child {
    let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" serve");
    spawn(Command::new("bash").args(["-c", &script, env!("CARGO_BIN_EXE_wharf")]), data, port, url)
}

fn spawn(command: &mut Command, data: &Path, port: u16, url: &str) -> Child {
    command
        .env("WHARF__LISTEN", format!("127.0.0.1:{port}"))
        .env("WHARF__DATA", data)
        .env("WHARF__LOG", "error")
        .env("WHARF__NETWORK__KIND", "sandbox")
        .env("WHARF__NETWORK__URL", url)
        .env("WHARF__ACCOUNTS__PREKEY_BATCH", "50")
        .env("WHARF_ADMIN_KEY", KEY)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

async fn up(client: &Client) {
    until("the server answers", async || {
        client.try_send(client.request("GET", "/healthz")).await.ok().filter(|answer| answer.status == 200)
    })
    .await;
}

#[actix_web::test]
async fn nothing_is_lost_and_nothing_comes_twice() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = start_sandbox("127.0.0.1:0").unwrap();
    let (port, url) = (port(), sandbox.ws_url());
    let client = Client::new(format!("http://127.0.0.1:{port}"), format!("http://{}", sandbox.address));
    let mut server = serve(&folder.path().join("data"), port, &url);
    up(&client).await;
    client.linked("alice", ALICE).await;
    client.linked("bob", BOB).await;
    client.phone(PERSON).await;

    let mut rng = StdRng::seed_from_u64(SEED);
    let (mut accepted, mut written, mut number) = (Vec::new(), Vec::new(), 0);
    for round in 0..KILLS {
        let (mut sending, mut writing, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        // A thread of its own: this one is busy with the stream.
        let (first_accepted, wait) = mpsc::channel::<()>();
        let moment = Duration::from_millis(rng.random_range(0..10));
        let killer = std::thread::spawn(move || {
            wait.recv().unwrap();
            let (_never, timer) = mpsc::channel::<()>();
            let _ = timer.recv_timeout(moment);
            server.kill().unwrap();
            server.wait().unwrap();
        });
        for _ in 0..STREAM {
            number += 1;
            let (text, sender, tell) = (format!("m{number}"), client.clone(), first_accepted.clone());
            texts.push(text.clone());
            sending.push(actix_web::rt::spawn(async move {
                let answer = sender.try_send(sender.text("alice", BOB, &text)).await;
                let accepted = answer.ok().filter(|answer| answer.status == 202);
                accepted.map(|_| {
                    // The killer hears the first only.
                    let _ = tell.send(());
                    text
                })
            }));
            let (text, person) = (format!("p{number}"), client.clone());
            written.push(text.clone());
            writing.push(actix_web::rt::spawn(async move {
                let message = json!({ "to": ALICE, "text": text });
                person.control("POST", &format!("/phones/{PERSON}/messages"), Some(message)).await
            }));
        }
        while !killer.is_finished() {
            tokio::task::yield_now().await;
        }
        killer.join().unwrap();
        let read = client.read(BOB).await;
        let in_flight = texts.iter().filter(|text| !read.contains(text)).count();
        assert!(in_flight >= 5, "round {round}: only {in_flight} in flight");
        for request in sending {
            accepted.extend(request.await.unwrap());
        }
        for request in writing {
            request.await.unwrap();
        }
        server = serve(&folder.path().join("data"), port, &url);
        up(&client).await;
        // They come back by themselves: nobody starts them.
        client.online("alice").await;
        client.online("bob").await;
    }

    let count = |texts: Vec<String>| {
        let mut counts = BTreeMap::new();
        texts.into_iter().for_each(|text| *counts.entry(text).or_insert(0) += 1);
        counts
    };
    let read = until("every accepted message is on the phone", async || {
        let read = count(client.read(BOB).await);
        accepted.iter().all(|text| read.contains_key(text)).then_some(read)
    })
    .await;
    assert!(accepted.len() >= KILLS, "the stream was real: {} accepted", accepted.len());
    assert!(read.iter().all(|(text, times)| *times == 1 && text.starts_with('m')), "once each: {read:?}");

    let bodies = async |id: &str| {
        let events = client.events(id, "message.received").await;
        count(events.iter().map(|data| data["text"]["body"].as_str().unwrap().to_owned()).collect())
    };
    let logged = until("everything received is in the log", async || {
        let logged = bodies("alice").await;
        written.iter().all(|text| logged.contains_key(text)).then_some(logged)
    })
    .await;
    assert!(logged.values().all(|times| *times == 1), "once each: {logged:?}");
    let at_bob = until("bob's account has what his phone has", async || {
        let at_bob = bodies("bob").await;
        (at_bob.len() == read.len()).then_some(at_bob)
    })
    .await;
    assert_eq!(at_bob, read);
    for id in ["alice", "bob"] {
        assert_eq!(client.events(id, "message.undecryptable").await, Vec::<serde_json::Value>::new());
    }

    let second = serve(&folder.path().join("data"), self::port(), &url).wait().unwrap();
    assert_eq!(second.code(), Some(1), "a second server on the same folder is refused");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[actix_web::test]
async fn a_full_disk_ends_the_server_and_nothing_that_was_accepted_is_lost_when_space_returns() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let sandbox = start_sandbox("127.0.0.1:0").unwrap();
    let (port, url) = (port(), sandbox.ws_url());
    let client = Client::new(format!("http://127.0.0.1:{port}"), format!("http://{}", sandbox.address));
    let mut server = serve_with_room_for(2000, &data, port, &url);
    up(&client).await;
    client.linked("alice", ALICE).await;
    client.phone(BOB).await;
    let mut accepted = Vec::new();
    let filling = "x".repeat(4000);
    for number in 0..1000 {
        let text = format!("m{number} {filling}");
        match client.try_send(client.text("alice", BOB, &text)).await {
            Ok(answer) if answer.status == 202 => accepted.push(text),
            _ => break,
        }
    }
    assert!((5..1000).contains(&accepted.len()), "the disk was full in time: {} accepted", accepted.len());
    let ended = until("the server ends", async || server.try_wait().unwrap()).await;
    assert_eq!(ended.code(), Some(1));

    let mut server = serve(&data, port, &url);
    up(&client).await;
    let read = until("every accepted message is on the phone", async || {
        let read = client.read(BOB).await;
        accepted.iter().all(|text| read.contains(text)).then_some(read)
    })
    .await;
    assert!(accepted.iter().all(|text| read.iter().filter(|other| *other == text).count() == 1), "once each");
    server.kill().unwrap();
    server.wait().unwrap();
}
