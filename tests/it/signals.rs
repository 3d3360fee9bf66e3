//! SIGTERM to the real program.

use crate::full_disk::{port, serve, up};
use crate::served::{Client, until};
use std::process::{Child, Command};
use std::time::Duration;
use wharf::app::start_sandbox;

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";

fn terminate(server: &Child) {
    let told = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(told.success());
}

async fn end_of(server: &mut Child) -> Option<i32> {
    until("the server ends", async || server.try_wait().unwrap()).await.code()
}

#[actix_web::test]
async fn sigterm_during_sends_exits_with_0_and_loses_no_accepted_message() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let sandbox = start_sandbox("127.0.0.1:0").unwrap();
    let (port, url) = (port(), sandbox.ws_url());
    let client = Client::new(format!("http://127.0.0.1:{port}"), format!("http://{}", sandbox.address));
    let mut server = serve(&data, port, &url);
    up(&client).await;
    client.linked("alice", ALICE).await;
    client.phone(BOB).await;
    let sending: Vec<_> = (0..100)
        .map(|number| {
            let (client, text) = (client.clone(), number.to_string());
            actix_web::rt::spawn(async move {
                let answer = client.try_send(client.text("alice", BOB, &text)).await;
                answer.is_ok_and(|answer| answer.status == 202).then_some(text)
            })
        })
        .collect();
    until("some are on their way", async || (!client.read(BOB).await.is_empty()).then_some(())).await;
    terminate(&server);
    assert_eq!(end_of(&mut server).await, Some(0));
    let mut accepted = Vec::new();
    for request in sending {
        accepted.extend(request.await.unwrap());
    }
    let mut server = serve(&data, port, &url);
    up(&client).await;
    client.all_read_once(BOB, &accepted).await;
    terminate(&server);
    assert_eq!(end_of(&mut server).await, Some(0));
}

#[actix_web::test]
async fn second_signal_exits_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = start_sandbox("127.0.0.1:0").unwrap();
    let port = port();
    let client = Client::new(format!("http://127.0.0.1:{port}"), format!("http://{}", sandbox.address));
    let mut server = serve(&folder.path().join("data"), port, &sandbox.ws_url());
    up(&client).await;
    // The first signal waits for a request under way.
    let waiting = client.clone();
    let poll =
        actix_web::rt::spawn(async move { waiting.try_send(waiting.request("GET", "/v1/events?wait=30")).await });
    until("it is under way", async || {
        let metrics = client.try_send(client.request("GET", "/metrics")).await.unwrap();
        (metrics.status == 200).then_some(())
    })
    .await;
    terminate(&server);
    let refused = async || client.try_send(client.request("GET", "/healthz")).await.is_err().then_some(());
    until("nothing new is accepted", refused).await;
    assert!(server.try_wait().unwrap().is_none(), "it waits");
    terminate(&server);
    let ended = tokio::time::timeout(Duration::from_secs(2), end_of(&mut server)).await;
    assert!(ended.is_ok(), "at once");
    assert!(poll.await.unwrap().is_err());
}
