//! A server and a sandbox on real sockets, and a client of both HTTP interfaces.

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use wharf::app::{Parts, Running, Sandbox, start, start_sandbox};
use wharf::config::{Config, NetworkKind};
use wharf::storage::{MasterKey, MemoryEngine};

pub const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
pub const KEY: &str = "an admin key of thirty-two letters";

/// Polls until the condition holds, for thirty seconds at most: a loaded machine is slow, not wrong.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap_or_else(|_| panic!("timed out: {what}"))
}

/// A client of both interfaces.
#[derive(Clone)]
pub struct Client {
    pub http: reqwest::Client,
    pub wharf: String,
    pub sandbox: String,
}

pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }
}

impl Client {
    pub fn new(wharf: String, sandbox: String) -> Self {
        // Another test or the server may have installed one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        Self { http, wharf, sandbox }
    }

    pub async fn try_send(&self, request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let header = answer.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let bytes = answer.bytes().await?.to_vec();
        Ok(Answer { status, content_type: header.unwrap_or_default(), bytes })
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().unwrap(), format!("{}{path}", self.wharf)).bearer_auth(KEY)
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.try_send(self.request("GET", path)).await.unwrap();
        assert!(answer.status < 300, "GET {path}: {} {}", answer.status, answer.json());
        answer.json()
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.try_send(self.request("POST", path).json(&body)).await.unwrap()
    }

    pub async fn control(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.sandbox));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = self.try_send(request).await.unwrap();
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.json());
        answer.json()
    }

    pub async fn phone(&self, number: &str) {
        self.control("POST", "/phones", Some(json!({ "number": number }))).await;
    }

    pub async fn state(&self, id: &str) -> String {
        self.get(&format!("/v1/accounts/{id}")).await["state"].as_str().unwrap().to_owned()
    }

    pub async fn online(&self, id: &str) {
        until("the account is online", async || (self.state(id).await == "online").then_some(())).await;
    }

    /// Creates an account, links it to the phone of this number, and waits until it is online.
    pub async fn linked(&self, id: &str, number: &str) {
        self.phone(number).await;
        assert_eq!(self.post("/v1/accounts", json!({ "id": id })).await.status, 201);
        assert_eq!(self.post(&format!("/v1/accounts/{id}/start"), json!({})).await.status, 200);
        let code = self.get(&format!("/v1/accounts/{id}/qr")).await;
        self.control("POST", &format!("/phones/{number}/scan"), Some(json!({ "qr": code["code"] }))).await;
        self.online(id).await;
    }

    pub fn text(&self, id: &str, to: &str, body: &str) -> reqwest::RequestBuilder {
        let message = json!({ "to": to, "type": "text", "text": { "body": body } });
        self.request("POST", &format!("/v1/accounts/{id}/messages")).json(&message)
    }

    /// Texts that the phone of this number has decrypted, in order.
    pub async fn read(&self, number: &str) -> Vec<String> {
        let messages = self.control("GET", &format!("/phones/{number}/messages"), None).await;
        let texts = messages["data"].as_array().unwrap().iter().map(|m| m["text"].as_str().unwrap().to_owned());
        texts.collect()
    }

    /// Waits until the phone has read all of these, each once.
    pub async fn all_read_once(&self, number: &str, texts: &[String]) {
        let read = until("every accepted message is on the phone", async || {
            let read = self.read(number).await;
            texts.iter().all(|text| read.contains(text)).then_some(read)
        })
        .await;
        let once = |text: &String| read.iter().filter(|other| *other == text).count() == 1;
        assert!(texts.iter().all(once), "once each: {read:?}");
    }

    /// The data of all events of this type.
    pub async fn events(&self, id: &str, kind: &str) -> Vec<Value> {
        let (mut events, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/v1/events?account={id}&type={kind}&limit=1000{after}")).await;
            let data = page["data"].as_array().unwrap().clone();
            if data.is_empty() {
                return events;
            }
            events.extend(data.into_iter().map(|mut event| event["data"].take()));
            after = format!("&after={}", page["next"].as_str().unwrap());
        }
    }
}

/// A server and a sandbox in this process.
pub struct Served {
    pub client: Client,
    pub running: Running,
    pub sandbox: Sandbox,
}

pub fn config(sandbox: &Sandbox) -> Config {
    let mut config = Config { listen: "127.0.0.1:0".into(), ..Config::default() };
    config.network.kind = NetworkKind::Sandbox;
    config.network.url = Some(sandbox.ws_url());
    config.accounts.prekey_batch = 50;
    config
}

impl Served {
    pub async fn start() -> Self {
        Self::with(Parts::default()).await
    }

    /// With an unsealed store that a test can inspect.
    pub async fn unsealed(engine: Arc<MemoryEngine>) -> Self {
        let parts = Parts { engine: Some(engine), ..Parts::default() };
        Self::configured(parts, |config| config.storage.seal = false).await
    }

    pub async fn with(parts: Parts) -> Self {
        Self::configured(parts, |_| {}).await
    }

    pub async fn configured(parts: Parts, change: impl FnOnce(&mut Config)) -> Self {
        let sandbox = start_sandbox("127.0.0.1:0").unwrap();
        let engine = parts.engine.or_else(|| Some(Arc::new(MemoryEngine::default())));
        let master_key = parts.master_key.or_else(|| MasterKey::parse(MASTER_KEY));
        let parts = Parts { engine, admin_key: Some(KEY.into()), master_key, ..parts };
        let mut config = config(&sandbox);
        change(&mut config);
        let running = start(&config, parts).await.unwrap();
        let client = Client::new(format!("http://{}", running.address), format!("http://{}", sandbox.address));
        Self { client, running, sandbox }
    }
}

impl Served {
    /// Stops this server, and starts another one over the same store.
    pub async fn next_server(self, engine: Arc<MemoryEngine>) -> Self {
        // It may have ended already.
        let _ = self.running.stop().await;
        let parts = Parts {
            engine: Some(engine),
            admin_key: Some(KEY.into()),
            master_key: MasterKey::parse(MASTER_KEY),
            ..Parts::default()
        };
        let running = start(&config(&self.sandbox), parts).await.unwrap();
        let client = Client::new(format!("http://{}", running.address), self.client.sandbox);
        Self { client, running, sandbox: self.sandbox }
    }
}
