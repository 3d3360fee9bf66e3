//! `wharf demo`: the whole of Wharf in one process, seen from outside.
//!
//! Everything below the start goes through the public interfaces: the REST interface, the webhook, the sandbox's control
//! API. A bot of one's own could do the same.

use crate::app::{self, AppError, Parts, Running, Sandbox};
use crate::base::ids::random_hex;
use crate::config::{Config, NetworkKind};
use crate::storage::{MasterKey, MemoryEngine};
use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const SUPPORT: (&str, &str) = ("support", "15550001111");
const SALES: (&str, &str) = ("sales", "15550002222");
const MARIA: &str = "15550003333";
/// A step that takes longer has failed.
const STEP_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two messages of the endless demo.
const PAUSE: Duration = Duration::from_secs(5);

/// Why the demo could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Start(#[from] AppError),
    #[error("{step}: {why}")]
    Step { step: &'static str, why: String },
}

/// The parts that run, so that a test can take one away.
pub struct Stage {
    pub running: Option<Running>,
    pub sandbox: Option<Sandbox>,
}

/// Prints a line of the story.
pub fn print(line: &str) {
    println!("{line}");
}

/// Runs the demo: one round trip, or on and on. `tell` gets each line; `after_linking` is called halfway.
pub async fn run(
    once: bool,
    tell: &mut dyn FnMut(&str),
    after_linking: &mut dyn FnMut(&mut Stage),
) -> Result<(), DemoError> {
    let sandbox = app::start_sandbox("127.0.0.1:0")?;
    let mut rng = crate::base::entropy::Entropy::from_system().map_err(AppError::from)?.fork();
    let key = random_hex::<32>(&mut rng);
    let mut config = Config { listen: "127.0.0.1:0".into(), ..Config::default() };
    config.network.kind = NetworkKind::Sandbox;
    config.network.url = Some(sandbox.ws_url());
    let engine = Some(Arc::new(MemoryEngine::default()) as Arc<dyn crate::storage::Engine>);
    let parts = Parts {
        engine,
        admin_key: Some(key.clone()),
        master_key: Some(MasterKey::generate(&mut rng)),
        ..Parts::default()
    };
    let running = app::start(&config, parts).await?;

    tell(&format!("sandbox network   http://{}  (a service and phones; no internet)", sandbox.address));
    tell(&format!("wharf             http://{}  (REST; key: {key})", running.address));
    let visitor = Visitor::new(format!("http://{}", running.address), format!("http://{}", sandbox.address), key)?;
    let mut stage = Stage { running: Some(running), sandbox: Some(sandbox) };

    for account in [SUPPORT, SALES] {
        visitor.link(account, tell).await?;
    }
    let bot = visitor.start_bot()?;
    let hook = json!({ "url": bot, "events": ["message.received"], "accounts": [SUPPORT.0] });
    visitor.wharf("POST", "/v1/webhooks", Some(hook)).await?;
    tell(&format!("echo bot          {bot}  (a webhook of account {:?})", SUPPORT.0));
    after_linking(&mut stage);

    visitor.person_asks("hello, is anybody there?", tell).await?;
    visitor.account_asks("do we have order 42?", tell).await?;
    tell("every message above was encrypted end to end, by Wharf's own Signal Protocol");
    if !once {
        tell("the conversation goes on; stop it with ctrl-c");
        for number in 1u64.. {
            tokio::time::sleep(PAUSE).await;
            visitor.person_asks(&format!("message number {number}"), tell).await?;
        }
    }
    if let (Some(running), Some(sandbox)) = (stage.running, stage.sandbox) {
        running.stop().await?;
        sandbox.stop().await;
    }
    Ok(())
}

/// Somebody with an HTTP client and the admin key.
#[derive(Clone)]
struct Visitor {
    client: reqwest::Client,
    wharf: String,
    sandbox: String,
    key: String,
}

impl Visitor {
    fn new(wharf: String, sandbox: String, key: String) -> Result<Self, DemoError> {
        let client = reqwest::Client::builder().no_proxy().timeout(STEP_TIMEOUT).build();
        let client = client.map_err(|error| DemoError::Step { step: "starting", why: error.to_string() })?;
        Ok(Self { client, wharf, sandbox, key })
    }

    async fn call(&self, method: &str, url: String, body: Option<Value>) -> Result<Value, DemoError> {
        let failed = |why: String| DemoError::Step { step: "a request was not answered", why };
        let method = reqwest::Method::from_bytes(method.as_bytes()).map_err(|error| failed(error.to_string()))?;
        let mut request = self.client.request(method, url).bearer_auth(&self.key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| failed(chain(&error)))?;
        let status = answer.status();
        let body: Value = answer.json().await.map_err(|error| failed(chain(&error)))?;
        if status.is_success() { Ok(body) } else { Err(failed(format!("{status}: {}", body["detail"]))) }
    }

    async fn wharf(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, DemoError> {
        self.call(method, format!("{}{path}", self.wharf), body).await
    }

    async fn sandbox(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, DemoError> {
        self.call(method, format!("{}{path}", self.sandbox), body).await
    }

    /// Asks until there is something to show.
    async fn until<T>(
        &self,
        step: &'static str,
        mut ask: impl AsyncFnMut() -> Result<Option<T>, DemoError>,
    ) -> Result<T, DemoError> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        loop {
            if let Some(found) = ask().await? {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                return Err(DemoError::Step { step, why: format!("it did not happen within {STEP_TIMEOUT:?}") });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn link(&self, (id, number): (&str, &str), tell: &mut dyn FnMut(&str)) -> Result<(), DemoError> {
        self.sandbox("POST", "/phones", Some(json!({ "number": number, "name": id }))).await?;
        self.wharf("POST", "/v1/accounts", Some(json!({ "id": id }))).await?;
        self.wharf("POST", &format!("/v1/accounts/{id}/start"), None).await?;
        let code = self.wharf("GET", &format!("/v1/accounts/{id}/qr"), None).await?;
        let qr = code["code"].as_str().unwrap_or_default();
        tell(&format!("account {id:?} shows a QR code; phone +{number} scans it"));
        self.sandbox("POST", &format!("/phones/{number}/scan"), Some(json!({ "qr": qr }))).await?;
        let account = self
            .until("the account did not come online", async || {
                let account = self.wharf("GET", &format!("/v1/accounts/{id}"), None).await?;
                Ok((account["state"] == "online").then_some(account))
            })
            .await?;
        tell(&format!("account {id:?} is linked and online as {}", account["jid"].as_str().unwrap_or_default()));
        Ok(())
    }

    /// A bot that answers every text with an echo, through the REST interface.
    fn start_bot(&self) -> Result<String, DemoError> {
        let failed = |error: std::io::Error| DemoError::Step { step: "starting the bot", why: error.to_string() };
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let visitor = web::Data::new(self.clone());
        let server =
            HttpServer::new(move || App::new().app_data(visitor.clone()).route("/webhook", web::post().to(echo)));
        actix_web::rt::spawn(server.workers(1).disable_signals().listen(listener).map_err(failed)?.run());
        Ok(format!("http://{address}/webhook"))
    }

    /// Maria writes to the bot, and waits for its echo on her phone.
    async fn person_asks(&self, text: &str, tell: &mut dyn FnMut(&str)) -> Result<(), DemoError> {
        self.sandbox("POST", "/phones", Some(json!({ "number": MARIA, "name": "Maria" }))).await?;
        tell(&format!("Maria (+{MARIA}) writes to {:?}: {text:?}", SUPPORT.0));
        let written = json!({ "to": SUPPORT.1, "text": text });
        self.sandbox("POST", &format!("/phones/{MARIA}/messages"), Some(written)).await?;
        let expected = format!("echo: {text}");
        let reply = self
            .until("no reply came to Maria's phone", async || {
                let messages = self.sandbox("GET", &format!("/phones/{MARIA}/messages"), None).await?;
                let mut messages = messages["data"].as_array().cloned().unwrap_or_default().into_iter();
                Ok(messages.find(|message| message["text"] == expected))
            })
            .await?;
        tell("  the webhook received message.received; the bot answers through REST");
        tell(&format!("  Maria's phone decrypted: {expected:?} (copies: {})", reply["copies"]));
        let id = reply["id"].as_str().unwrap_or_default();
        self.statuses(SUPPORT.0, id, tell).await
    }

    /// One account writes to the other; the event log of the first shows the bot's echo.
    async fn account_asks(&self, text: &str, tell: &mut dyn FnMut(&str)) -> Result<(), DemoError> {
        tell(&format!("account {:?} writes to {:?}: {text:?}", SALES.0, SUPPORT.0));
        let message = json!({ "to": SUPPORT.1, "type": "text", "text": { "body": text } });
        let sent = self.wharf("POST", &format!("/v1/accounts/{}/messages", SALES.0), Some(message)).await?;
        let expected = format!("echo: {text}");
        self.until("no reply came to the account", async || {
            let path = format!("/v1/events?account={}&type=message.received", SALES.0);
            let events = self.wharf("GET", &path, None).await?;
            let mut events = events["data"].as_array().cloned().unwrap_or_default().into_iter();
            Ok(events.find(|event| event["data"]["text"]["body"] == expected))
        })
        .await?;
        tell(&format!("  account {:?} received: {expected:?}", SALES.0));
        self.statuses(SALES.0, sent["id"].as_str().unwrap_or_default(), tell).await
    }

    async fn statuses(&self, account: &str, id: &str, tell: &mut dyn FnMut(&str)) -> Result<(), DemoError> {
        self.until("the message was not read", async || {
            let message = self.wharf("GET", &format!("/v1/accounts/{account}/messages/{id}"), None).await?;
            Ok((message["status"] == "read").then_some(()))
        })
        .await?;
        let path = format!("/v1/events?account={account}&type=message.status");
        let events = self.wharf("GET", &path, None).await?;
        let events = events["data"].as_array().cloned().unwrap_or_default();
        let statuses: Vec<&str> = events
            .iter()
            .filter(|event| event["data"]["id"] == id)
            .filter_map(|event| event["data"]["status"].as_str())
            .collect();
        tell(&format!("  status of {id}: queued → {}", statuses.join(" → ")));
        Ok(())
    }
}

/// The whole bot.
async fn echo(visitor: web::Data<Visitor>, event: web::Json<Value>) -> HttpResponse {
    let data = &event["data"];
    let reply = format!("echo: {}", data["text"]["body"].as_str().unwrap_or_default());
    let message = json!({ "to": data["chat"], "type": "text", "text": { "body": reply } });
    let account = event["account"].as_str().unwrap_or_default();
    match visitor.wharf("POST", &format!("/v1/accounts/{account}/messages"), Some(message)).await {
        Ok(_) => HttpResponse::Ok().finish(),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
