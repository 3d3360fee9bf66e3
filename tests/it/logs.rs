//! What may stand in a log: no message, no whole phone number, no key.

use crate::served::{KEY, Served, until};
use serde_json::json;
use std::io::Write;
use std::sync::{Arc, Mutex};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

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
async fn the_finest_log_tells_no_secret() {
    let captured = Captured::default();
    let writer = captured.clone();
    tracing_subscriber::fmt().with_env_filter("wharf=trace").with_writer(move || writer.clone()).init();
    let it = Served::start().await;
    it.client.linked("alice", ALICE).await;
    it.client.phone(BOB).await;
    let hook = json!({ "url": "http://127.0.0.1:1/planted-path", "headers": { "x-token": "planted-token" } });
    let secret = it.client.post("/v1/webhooks", hook).await.json()["secret"].as_str().unwrap().to_owned();
    it.client.try_send(it.client.text("alice", BOB, "planted-text-out")).await.unwrap();
    let message = json!({ "to": ALICE, "text": "planted-text-in" });
    it.client.control("POST", &format!("/phones/{BOB}/messages"), Some(message)).await;
    it.client.try_send(it.client.text("alice", "1555999", "nobody")).await.unwrap();
    until("a delivery has failed and was logged", async || {
        let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        let failed = log.contains("a webhook delivery failed");
        (failed && it.client.read(BOB).await.len() == 1).then_some(())
    })
    .await;
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    for planted in ["planted", ALICE, BOB, KEY, &secret] {
        let line = log.lines().find(|line| line.contains(planted));
        assert_eq!(line, None, "{planted:?} stands in the log");
    }
}
