//! Probes of a running server: readiness, and a round trip of a message.

use super::CliError;
use super::tools;
use clap::Args;
use serde_json::{Value, json};
use std::time::Duration;

/// Timeout of each step of a round trip.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(super) struct Health {
    /// The server.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    server: String,
}

#[derive(Args)]
pub(super) struct RoundTrip {
    /// The server; its admin key is taken from WHARF_ADMIN_KEY.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    server: String,
    /// The sandbox that the server talks to.
    #[arg(long, default_value = "http://127.0.0.1:7070")]
    sandbox: String,
}

/// Succeeds when the server accepts messages.
pub(super) async fn health(Health { server }: &Health) -> Result<(), CliError> {
    tools::ask(server, reqwest::Method::GET, "/readyz", &[]).await?;
    println!("{server} is ready");
    Ok(())
}

/// Links an account to a phone of the sandbox, sends a message in each direction, and erases the account.
pub(super) async fn round_trip(at: &RoundTrip) -> Result<(), CliError> {
    let unique = now_digits();
    let (account, own, friend) = (format!("round-trip-{unique}"), format!("1555{unique}"), format!("1556{unique}"));
    for number in [&own, &friend] {
        at.sandbox("POST", "/phones", Some(json!({ "number": number }))).await?;
    }
    at.server("POST", "/v1/accounts", Some(json!({ "id": account }))).await?;
    let path = format!("/v1/accounts/{account}");
    let made = at.talk(&path, &own, &friend).await;
    // Erase the account after a failure too.
    let erased = at.server("DELETE", &path, None).await;
    made?;
    erased?;
    println!("linked, sent, received, erased: {} makes its round trips", at.server);
    Ok(())
}

/// Nine digits that differ from call to call.
fn now_digits() -> String {
    format!("{:09}", super::now().0 % 1_000_000_000)
}

impl RoundTrip {
    async fn talk(&self, account: &str, own: &str, friend: &str) -> Result<(), CliError> {
        self.server("POST", &format!("{account}/start"), None).await?;
        let code = self.server("GET", &format!("{account}/qr"), None).await?;
        self.sandbox("POST", &format!("/phones/{own}/scan"), Some(json!({ "qr": code["code"] }))).await?;
        self.until("the account did not come online", async || {
            Ok(self.server("GET", account, None).await?["state"] == "online")
        })
        .await?;
        let hello = json!({ "to": friend, "type": "text", "text": { "body": "ahoy" } });
        self.server("POST", &format!("{account}/messages"), Some(hello)).await?;
        self.until("the message did not reach the phone", async || {
            let read = self.sandbox("GET", &format!("/phones/{friend}/messages"), None).await?;
            Ok(read["data"].as_array().is_some_and(|read| read.iter().any(|message| message["text"] == "ahoy")))
        })
        .await?;
        let answer = json!({ "to": own, "text": "aye" });
        self.sandbox("POST", &format!("/phones/{friend}/messages"), Some(answer)).await?;
        let name = account.rsplit('/').next().unwrap_or_default().to_owned();
        self.until("the answer did not reach the account", async || {
            let events = self.server("GET", &format!("/v1/events?account={name}&type=message.received"), None).await?;
            let events = events["data"].as_array().cloned().unwrap_or_default();
            Ok(events.iter().any(|event| event["data"]["text"]["body"] == "aye"))
        })
        .await
    }

    async fn server(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, CliError> {
        tools::call(&self.server, method, path, body).await
    }

    async fn sandbox(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, CliError> {
        tools::call(&self.sandbox, method, path, body).await
    }

    async fn until(&self, why: &str, mut holds: impl AsyncFnMut() -> Result<bool, CliError>) -> Result<(), CliError> {
        let asking = async {
            while !holds().await? {
                tokio::time::sleep(STEP).await;
            }
            Ok(())
        };
        let late = |_| CliError::Server { server: self.server.clone(), why: why.to_owned() };
        tokio::time::timeout(PATIENCE, asking).await.map_err(late)?
    }
}
