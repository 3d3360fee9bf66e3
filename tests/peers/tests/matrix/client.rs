//! A client of the matrix, of any kind.

use crate::network::{Network, PATIENCE};
use crate::report::{Lacks, Trouble};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Baileys7,
    Baileys6,
    WhatsappRust,
    Wharf,
    Phone,
}

impl Kind {
    /// The kinds that the gate runs.
    pub const CI: [Self; 4] = [Self::Baileys7, Self::WhatsappRust, Self::Wharf, Self::Phone];

    pub fn name(self) -> &'static str {
        match self {
            Self::Baileys7 => "baileys-7",
            Self::Baileys6 => "baileys-6",
            Self::WhatsappRust => "whatsapp-rust",
            Self::Wharf => "wharf",
            Self::Phone => "phone",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Baileys7, Self::Baileys6, Self::WhatsappRust, Self::Wharf, Self::Phone]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// True for a client in a separate process.
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::Baileys7 | Self::Baileys6 | Self::WhatsappRust)
    }
}

/// Events of a program, and a signal for new ones.
#[derive(Default)]
struct Received {
    events: Mutex<Vec<Value>>,
    changed: Condvar,
}

struct Program {
    child: Mutex<Child>,
    stdin: Mutex<ChildStdin>,
    received: Arc<Received>,
    tags: AtomicU64,
}

pub struct Client {
    pub kind: Kind,
    pub number: String,
    /// Of a Wharf account.
    pub account: String,
    program: Option<Program>,
}

impl Client {
    /// A linked, open client on its own phone.
    pub fn start(network: &Network, kind: Kind, at: usize, by: &str) -> Result<Self, Trouble> {
        let number = format!("1555000{at:04}");
        network.sandbox("POST", "/phones", Some(json!({ "number": number, "name": kind.name() })))?;
        Self::start_on(network, kind, number, by)
    }

    /// A client on this phone.
    pub fn start_on(network: &Network, kind: Kind, number: String, by: &str) -> Result<Self, Trouble> {
        match kind {
            Kind::Phone => Ok(Self { kind, number, account: String::new(), program: None }),
            Kind::Wharf => {
                let phone = network.sandbox("GET", &format!("/phones/{number}"), None)?;
                let id = format!("a{number}-{}", phone["companions"].as_array().map_or(0, Vec::len));
                let account = format!("/accounts/{id}");
                network.wharf("POST", "/accounts", Some(json!({ "id": id })))?;
                network.wharf("POST", &format!("{account}/start"), None)?;
                let code = network.wharf("GET", &format!("{account}/qr"), None)?;
                let scan = json!({ "qr": code["code"] });
                network.sandbox("POST", &format!("/phones/{number}/scan"), Some(scan))?;
                network.until("the account is online", || {
                    (network.wharf("GET", &account, None).ok()?["state"] == "online").then_some(())
                })?;
                Ok(Self { kind, number, account: id, program: None })
            }
            _ => {
                let program = Program::start(network, kind, &number, by);
                let client = Self { kind, number, account: String::new(), program: Some(program) };
                client.wait("it is open", |event| event["event"] == "open")?;
                Ok(client)
            }
        }
    }

    pub fn jid(&self) -> String {
        format!("{}@s.whatsapp.net", self.number)
    }

    fn program(&self) -> Result<&Program, Lacks> {
        self.program.as_ref().ok_or(Lacks(match self.kind {
            Kind::Wharf => "wharf does not do this yet",
            _ => "a person does not do this",
        }))
    }

    /// Runs a command in a program. Returns its answer.
    pub fn command(&self, mut command: Value) -> Result<Value, Trouble> {
        let program = self.program()?;
        let tag = program.tags.fetch_add(1, Ordering::Relaxed);
        command["tag"] = tag.into();
        writeln!(program.stdin.lock().unwrap(), "{command}").map_err(|error| error.to_string())?;
        let done = self.wait(&command["do"].to_string(), |event| {
            event["tag"] == tag && (event["event"] == "done" || event["event"] == "error")
        })?;
        if done["event"] == "error" { Err(Trouble::Failed(done["why"].to_string())) } else { Ok(done) }
    }

    /// The first event of a program that fits, past or future.
    pub fn wait(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value, Trouble> {
        let received = &self.program()?.received;
        let deadline = Instant::now() + PATIENCE;
        let mut events = received.events.lock().unwrap();
        loop {
            if let Some(event) = events.iter().find(|event| fits(event)) {
                return Ok(event.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let last: Vec<String> = events.iter().rev().take(3).map(ToString::to_string).collect();
                return Err(Trouble::Failed(format!("{}: never {what}; last: {}", self.kind.name(), last.join(" "))));
            }
            events = received.changed.wait_timeout(events, left).unwrap().0;
        }
    }

    /// All message events of a program with this text.
    pub fn told(&self, text: &str) -> Vec<Value> {
        let Ok(program) = self.program() else { return Vec::new() };
        let events = program.received.events.lock().unwrap();
        events.iter().filter(|event| event["event"] == "message" && event["text"] == text).cloned().collect()
    }

    /// Drops events of this kind, so that the next one can be waited for.
    pub fn forget(&self, event: &str) {
        if let Ok(program) = self.program() {
            program.received.events.lock().unwrap().retain(|received| received["event"] != event);
        }
    }

    /// Writes a text, with any kind of client. Returns the message's id.
    pub fn send_text(&self, network: &Network, to: &str, text: &str) -> Result<String, Trouble> {
        let sent = match self.kind {
            Kind::Phone => {
                let body = json!({ "to": to, "text": text });
                network.sandbox("POST", &format!("/phones/{}/messages", self.number), Some(body))?
            }
            Kind::Wharf => {
                let body = json!({ "to": to, "type": "text", "text": { "body": text } });
                network.wharf("POST", &format!("/accounts/{}/messages", self.account), Some(body))?
            }
            _ => self.command(json!({ "do": "text", "to": to, "text": text }))?,
        };
        Ok(sent["id"].as_str().unwrap_or_default().to_owned())
    }

    /// The data of an account's event with this text.
    fn event(&self, network: &Network, text: &str) -> Option<Value> {
        let mut after = String::new();
        loop {
            let path = format!("/events?account={}&type=message.*&limit=1000{after}", self.account);
            let page = network.wharf("GET", &path, None).ok()?;
            let events = page["data"].as_array()?;
            if let Some(found) = events.iter().find(|event| event["data"]["text"]["body"] == text) {
                let mut data = found["data"].clone();
                data["from_me"] = json!(found["type"] == "message.sent");
                return Some(data);
            }
            after = format!("&after={}", page["next"].as_str().filter(|_| !events.is_empty())?);
        }
    }

    /// True when an account has received a message with this text.
    pub fn has(&self, network: &Network, text: &str) -> bool {
        self.event(network, text).is_some()
    }

    /// Waits for a message with this text. Returns it in the form of a program's event.
    pub fn receive(&self, network: &Network, text: &str) -> Result<Value, Trouble> {
        match self.kind {
            Kind::Phone => Ok(network.until("the phone has the message", || {
                let listed = network.listed(&self.number);
                let mut found =
                    listed.into_iter().find(|message| message["text"] == text && message["type"] != "undecryptable")?;
                found["kind"] = found["type"].clone();
                found["sha256"] = found["media"]["sha256"].clone();
                Some(found)
            })?),
            Kind::Wharf => Ok(network.until("the account has the message", || {
                let found = self.event(network, text)?;
                Some(json!({ "id": found["id"], "chat": found["chat"], "kind": "text", "from_me": found["from_me"] }))
            })?),
            _ => self.wait(&format!("got {text:?}"), |event| event["event"] == "message" && event["text"] == text),
        }
    }
}

impl Program {
    fn start(network: &Network, kind: Kind, number: &str, by: &str) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = match kind {
            Kind::WhatsappRust => Command::new(env!("CARGO_BIN_EXE_whatsapp_rust_client")),
            _ => {
                let mut node = Command::new("node");
                node.args(["--require", "./strict.cjs", "client.mjs"]).current_dir(here.join("baileys"));
                if kind == Kind::Baileys6 {
                    node.env("BAILEYS_FOLDER", here.join("baileys-6"));
                }
                node
            }
        };
        let chatter = if std::env::var_os("MATRIX_LOG").is_some() { Stdio::inherit() } else { Stdio::null() };
        let mut child = command
            .args([&network.ws, &network.sandbox, &network.root, number, kind.name(), by])
            .env("MEDIA_HOST", &network.media)
            .env("NODE_EXTRA_CA_CERTS", &network.ca_file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(chatter)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", kind.name()));
        let received = Arc::new(Received::default());
        let (listening, stdout) = (received.clone(), BufReader::new(child.stdout.take().unwrap()));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if std::env::var_os("MATRIX_LOG").is_some() {
                    eprintln!("< {line}");
                }
                if let Ok(event) = serde_json::from_str(&line) {
                    listening.events.lock().unwrap().push(event);
                    listening.changed.notify_all();
                }
            }
        });
        Self {
            stdin: Mutex::new(child.stdin.take().unwrap()),
            child: Mutex::new(child),
            received,
            tags: AtomicU64::new(1),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
