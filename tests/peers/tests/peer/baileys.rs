//! An unmodified Baileys (with strict signatures) on the sandbox, exchanging texts with a Wharf account.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use wharf::app::{Parts, start, start_sandbox};
use wharf::config::{Config, NetworkKind};

const KEY: &str = "an admin key of thirty-two letters";
const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const WHARF: &str = "15550001111";
const BAILEYS: &str = "15550002222";
const PATIENCE: Duration = Duration::from_secs(60);

struct Node {
    child: Child,
    stdin: ChildStdin,
    events: Receiver<Value>,
}

impl Node {
    fn start(ws: &str, control: &str, root: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("baileys");
        assert!(folder.join("node_modules").is_dir(), "run `npm ci` in tests/peers/baileys first");
        let mut child = Command::new("node")
            .args(["--require", "./strict.cjs", "client.mjs", ws, control, root, BAILEYS])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("BAILEYS_LOG").is_some() { Stdio::inherit() } else { Stdio::null() })
            .spawn()
            .unwrap();
        let (sender, events) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap_or(json!({ "event": "noise", "line": line })));
            }
        });
        Self { stdin: child.stdin.take().unwrap(), child, events }
    }

    /// The next event of this kind; others are skipped, errors are not.
    fn expect(&self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.events.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("baileys never told {kind:?}"));
            assert_ne!(event["event"], "error", "{event}");
            if event["event"] == kind && fits(&event) {
                return event;
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server and a sandbox on a thread of their own; returns their addresses.
fn serve() -> (String, String) {
    let (sender, addresses) = channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let sandbox = start_sandbox("127.0.0.1:0").unwrap();
            let mut config = Config { listen: "127.0.0.1:0".into(), ..Config::default() };
            config.network.kind = NetworkKind::Sandbox;
            config.network.url = Some(sandbox.ws_url());
            let engine = Some(std::sync::Arc::new(wharf::storage::MemoryEngine::default()) as _);
            let parts = Parts {
                engine,
                admin_key: Some(KEY.into()),
                master_key: wharf::storage::MasterKey::parse(MASTER_KEY),
                ..Parts::default()
            };
            let running = start(&config, parts).await.unwrap();
            sender.send((format!("http://{}", running.address), format!("http://{}", sandbox.address))).unwrap();
            std::future::pending::<()>().await;
        });
    });
    addresses.recv().unwrap()
}

struct Client {
    http: reqwest::blocking::Client,
}

impl Client {
    fn call(&self, method: &str, url: &str, body: Option<Value>) -> Value {
        let mut request = self.http.request(method.parse().unwrap(), url).bearer_auth(KEY);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().unwrap();
        let (status, text) = (answer.status(), answer.text().unwrap());
        assert!(status.is_success(), "{method} {url}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::String(text))
    }

    fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = ask() {
                return found;
            }
            assert!(std::time::Instant::now() < deadline, "it never came about: {what}");
            std::thread::yield_now();
        }
    }
}

#[test]
fn baileys_links_and_exchanges_one_text_each_way_with_a_wharf_account() {
    let (wharf, sandbox) = serve();
    let http = reqwest::blocking::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let client = Client { http };
    let root = client.call("GET", &format!("{sandbox}/root-key"), None);
    let ws = format!("{}/ws/chat", sandbox.replacen("http", "ws", 1));
    let mut baileys = Node::start(&ws, &sandbox, root.as_str().unwrap());

    client.call("POST", &format!("{sandbox}/phones"), Some(json!({ "number": WHARF, "name": "Wharf" })));
    client.call("POST", &format!("{wharf}/v1/accounts"), Some(json!({ "id": "desk" })));
    client.call("POST", &format!("{wharf}/v1/accounts/desk/start"), None);
    let code = client.call("GET", &format!("{wharf}/v1/accounts/desk/qr"), None);
    client.call("POST", &format!("{sandbox}/phones/{WHARF}/scan"), Some(json!({ "qr": code["code"] })));
    client.until("the account is online", || {
        (client.call("GET", &format!("{wharf}/v1/accounts/desk"), None)["state"] == "online").then_some(())
    });
    let opened = baileys.expect("open", |_| true);
    assert!(opened["jid"].as_str().unwrap().starts_with(BAILEYS), "{opened}");

    let text = json!({ "to": BAILEYS, "type": "text", "text": { "body": "from wharf" } });
    let sent = client.call("POST", &format!("{wharf}/v1/accounts/desk/messages"), Some(text));
    baileys.expect("message", |event| event["text"] == "from wharf");

    writeln!(baileys.stdin, "{}", json!({ "to": WHARF, "text": "from baileys" })).unwrap();
    baileys.expect("sent", |_| true);
    let received = client.until("the account has received the text", || {
        let events = client.call("GET", &format!("{wharf}/v1/events?type=message.received"), None);
        events["data"].as_array().unwrap().iter().find(|e| e["data"]["text"]["body"] == "from baileys").cloned()
    });
    assert_eq!(received["data"]["from"], format!("{BAILEYS}@s.whatsapp.net"));
    client.until("the text from wharf is read", || {
        let path = format!("{wharf}/v1/accounts/desk/messages/{}", sent["id"].as_str().unwrap());
        (client.call("GET", &path, None)["status"] == "read").then_some(())
    });
    let undecryptable = client.call("GET", &format!("{wharf}/v1/events?type=message.undecryptable"), None);
    assert_eq!(undecryptable["data"], json!([]));
}
