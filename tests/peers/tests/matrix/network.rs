//! The sandbox and a Wharf server, in this process.

use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use wharf::app::{Parts, SandboxOptions, start, start_sandbox_with};
use wharf::config::{Config, NetworkKind};

const KEY: &str = "an admin key of thirty-two letters";
const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Network {
    pub sandbox: String,
    pub ws: String,
    pub media: String,
    pub root: String,
    pub ca_file: std::path::PathBuf,
    wharf: String,
    http: reqwest::blocking::Client,
}

impl Network {
    pub fn start() -> Self {
        let (sender, addresses) = channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let local = "127.0.0.1:0".to_owned();
                let options = SandboxOptions { listen: local.clone(), media: Some(local), ..SandboxOptions::default() };
                let sandbox = start_sandbox_with(&options).unwrap();
                let mut config = Config { listen: "127.0.0.1:0".into(), ..Config::default() };
                config.network.kind = NetworkKind::Sandbox;
                config.network.url = Some(sandbox.ws_url());
                let engine = Some(Arc::new(wharf::storage::MemoryEngine::default()) as _);
                let master_key = wharf::storage::MasterKey::parse(MASTER_KEY);
                let parts = Parts { engine, admin_key: Some(KEY.into()), master_key, ..Parts::default() };
                let running = start(&config, parts).await.unwrap();
                let media = sandbox.media.unwrap().to_string();
                let wharf = format!("http://{}", running.address);
                sender.send((sandbox.control_url(), sandbox.ws_url(), media, wharf)).unwrap();
                std::future::pending::<()>().await;
            });
        });
        let (sandbox, ws, media, wharf) = addresses.recv().unwrap();
        let http = reqwest::blocking::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let ca_file = std::env::temp_dir().join(format!("wharf-matrix-{}.pem", std::process::id()));
        let mut network = Self { sandbox, ws, media, root: String::new(), ca_file, wharf, http };
        network.root = text(&network.sandbox("GET", "/root-key", None).unwrap());
        let ca = text(&network.sandbox("GET", "/media-ca", None).unwrap());
        std::fs::write(&network.ca_file, ca).unwrap();
        network
    }

    pub fn sandbox(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
        self.call(method, &format!("{}{path}", self.sandbox), body)
    }

    pub fn wharf(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
        self.call(method, &format!("{}/v1{path}", self.wharf), body)
    }

    fn call(&self, method: &str, url: &str, body: Option<Value>) -> Result<Value, String> {
        let mut request = self.http.request(method.parse().unwrap(), url).bearer_auth(KEY);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().map_err(|error| error.to_string())?;
        let (status, text) = (answer.status(), answer.text().map_err(|error| error.to_string())?);
        if !status.is_success() {
            return Err(format!("{method} {url}: {status} {text}"));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The messages of a phone.
    pub fn listed(&self, number: &str) -> Vec<Value> {
        let listed = self.sandbox("GET", &format!("/phones/{number}/messages"), None).unwrap_or(json!({}));
        listed["data"].as_array().cloned().unwrap_or_default()
    }

    /// The last stanzas that a device has sent.
    pub fn sent_by(&self, number: &str) -> Vec<String> {
        let stanzas = self.sandbox("GET", "/stanzas", None).unwrap_or(json!({}));
        let stanzas = stanzas["data"].as_array().cloned().unwrap_or_default();
        let of_device = |it: &&Value| {
            it["direction"] == "received" && it["device"].as_str().is_some_and(|device| device.starts_with(number))
        };
        stanzas.iter().filter(of_device).map(|it| text(&it["stanza"])).collect()
    }

    pub fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = ask() {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                return Err(format!("it never came about: {what}"));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ca_file);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
