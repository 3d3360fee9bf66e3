//! `wharf demo --once`, as a library call and as a program.

use std::process::Command;
use wharf::demo::{DemoError, run};

#[actix_web::test]
async fn demo_runs_to_its_end() {
    let mut story = Vec::new();
    run(true, &mut |line| story.push(line.to_owned()), &mut |_| {}).await.unwrap();
    let story = story.join("\n");
    let mut rest = story.as_str();
    for step in [
        "shows a QR code",
        "is linked and online",
        "echo bot",
        "Maria (+15550003333) writes",
        "the webhook received message.received",
        "Maria's phone decrypted: \"echo: hello, is anybody there?\" (copies: 1)",
        "queued → sent → delivered → read",
        "account \"sales\" received: \"echo: do we have order 42?\"",
        "queued → sent → delivered → read",
    ] {
        rest = rest.split_once(step).unwrap_or_else(|| panic!("{step:?} does not come in its place:\n{story}")).1;
    }
}

#[actix_web::test]
async fn demo_stops_with_the_reason_when_the_server_goes_down() {
    let result = run(true, &mut |_| {}, &mut |stage| {
        let running = stage.running.take().unwrap();
        actix_web::rt::spawn(async move { running.stop().await.unwrap() });
    })
    .await;
    assert!(matches!(result, Err(DemoError::Step { .. })), "{result:?}");
}

#[test]
fn the_program_exits_with_zero_after_one_round() {
    let output = Command::new(env!("CARGO_BIN_EXE_wharf")).args(["demo", "--once"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn unknown_setting_is_refused_with_the_nearest_known_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_wharf"))
        .arg("check-config")
        .env("WHARF__NETWORK__KNID", "sandbox")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("unknown setting network.knid; did you mean network.kind?"), "{said}");
}
