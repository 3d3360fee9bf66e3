//! The real program on a disk that fills up. Kills at every point around a commit: `tests/crash/`.

use crate::served::{Client, KEY, until};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use wharf::app::start_sandbox;

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";

pub fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn serve(data: &Path, port: u16, url: &str) -> Child {
    spawn(Command::new(env!("CARGO_BIN_EXE_wharf")).arg("serve"), data, port, url)
}

/// A server whose disk has room for this many KiB: beyond it every write fails.
fn serve_with_room_for(kib: u32, data: &Path, port: u16, url: &str) -> Child {
    let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" serve");
    spawn(Command::new("bash").args(["-c", &script, env!("CARGO_BIN_EXE_wharf")]), data, port, url)
}

fn spawn(command: &mut Command, data: &Path, port: u16, url: &str) -> Child {
    configured(command, data, port, url).spawn().unwrap()
}

/// Adds the settings of a server over this folder.
pub fn configured<'c>(command: &'c mut Command, data: &Path, port: u16, url: &str) -> &'c mut Command {
    command
        .env("WHARF__LISTEN", format!("127.0.0.1:{port}"))
        .env("WHARF__DATA", data)
        .env("WHARF__LOG", "error")
        .env("WHARF__NETWORK__KIND", "sandbox")
        .env("WHARF__NETWORK__URL", url)
        .env("WHARF__ACCOUNTS__PREKEY_BATCH", "50")
        .env("WHARF_ADMIN_KEY", KEY)
        .stdout(Stdio::null())
}

pub async fn up(client: &Client) {
    until("the server answers", async || {
        client.try_send(client.request("GET", "/healthz")).await.ok().filter(|answer| answer.status == 200)
    })
    .await;
}

#[actix_web::test]
async fn full_disk_ends_the_server_and_no_accepted_message_is_lost() {
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
    client.all_read_once(BOB, &accepted).await;
    server.kill().unwrap();
    server.wait().unwrap();
}
