//! The load while the server is killed: accounts that write, each chat in order, and people who write to them.

use crate::KEY;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use wharf::sandbox::serve::WorldHost;

pub type Failed = Box<dyn std::error::Error>;

/// Messages that a chat writes in one round, at most.
const PER_ROUND: usize = 8;
const PAUSE: Duration = Duration::from_millis(5);
pub const ACCOUNTS: [(&str, &str); 2] = [("alice", "15550001111"), ("bob", "15550002222")];
const CAROL: &str = "15550003333";
const DAVE: &str = "15550004444";

/// One account's messages to one number. Each is repeated under its `Idempotency-Key` until it is accepted.
#[derive(Clone)]
pub struct Chat {
    pub account: &'static str,
    /// The account's own number.
    pub number: &'static str,
    /// A number, or the group's id.
    pub to: String,
    /// The phone that must read them.
    pub reader: &'static str,
    /// The number of accepted texts, which are numbered from 0.
    pub accepted: usize,
}

impl Chat {
    pub fn text(&self, number: usize) -> String {
        format!("{}>{} {number}", self.account, self.to)
    }
}

/// One person's messages to one account.
#[derive(Clone)]
pub struct Writer {
    pub from: &'static str,
    pub account: &'static str,
    pub to: &'static str,
    pub written: usize,
}

impl Writer {
    pub fn text(&self, number: usize) -> String {
        format!("{}<{} {number}", self.account, self.from)
    }
}

pub struct Load {
    pub client: reqwest::Client,
    pub api: String,
    pub world: WorldHost,
    pub chats: Vec<Chat>,
    pub writers: Vec<Writer>,
}

/// A round under way.
pub struct Running {
    over: Arc<AtomicBool>,
    chats: Vec<JoinHandle<Chat>>,
    writers: Vec<JoinHandle<Writer>>,
}

impl Load {
    pub fn new(port: u16, world: WorldHost) -> Result<Self, Failed> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let [(alice, alices), (bob, bobs)] = ACCOUNTS;
        let chat =
            |account, number, to: &'static str| Chat { account, number, to: to.to_owned(), reader: to, accepted: 0 };
        let chats =
            [chat(alice, alices, bobs), chat(alice, alices, CAROL), chat(bob, bobs, alices), chat(bob, bobs, CAROL)];
        let writer = |from, account, to| Writer { from, account, to, written: 0 };
        let writers = [writer(CAROL, alice, alices), writer(CAROL, bob, bobs), writer(DAVE, alice, alices)];
        let api = format!("http://127.0.0.1:{port}/v1");
        Ok(Self { client, api, world, chats: chats.into(), writers: writers.into() })
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failed> {
        let answer = self.client.get(format!("{}{path}", self.api)).bearer_auth(KEY).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, Failed> {
        let request = self.client.post(format!("{}{path}", self.api)).bearer_auth(KEY).json(&body);
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    pub async fn online(&self, account: &str) -> bool {
        let shown = self.get(&format!("/accounts/{account}")).await;
        shown.is_ok_and(|shown| shown["state"] == "online")
    }

    /// People, linked accounts, a webhook.
    pub async fn set_up(&mut self, hook: &str) -> Result<(), Failed> {
        until("the server answers", async || self.get("/accounts").await.is_ok()).await?;
        let numbers = ACCOUNTS.map(|(_, number)| number).into_iter().chain([CAROL, DAVE]);
        for number in numbers {
            self.world.with(move |world| world.create_phone(number, None)).await.ok_or("no world")??;
        }
        let members = ACCOUNTS.map(|(_, number)| number.to_owned());
        let group =
            self.world.with(move |world| world.create_group("crew", CAROL, &members)).await.ok_or("no world")??;
        for (account, number) in ACCOUNTS {
            let to = group.id.clone();
            self.chats.push(Chat { account, number, to, reader: CAROL, accepted: 0 });
        }
        for (account, number) in ACCOUNTS {
            self.post("/accounts", json!({ "id": account })).await?;
            self.post(&format!("/accounts/{account}/start"), json!({})).await?;
            let code = self.get(&format!("/accounts/{account}/qr")).await?;
            let qr = code["code"].as_str().ok_or("no code")?.to_owned();
            self.world.with(move |world| world.scan(number, &qr)).await.ok_or("no world")??;
            until("the account is online", async || self.online(account).await).await?;
        }
        self.post("/webhooks", json!({ "url": hook, "events": ["message.received"] })).await?;
        Ok(())
    }

    /// Accounts and people write until the round ends.
    pub fn begin(&self) -> Running {
        let over = Arc::new(AtomicBool::new(false));
        let chats = self.chats.iter().cloned();
        let chats = chats.map(|chat| write_chat(chat, self.client.clone(), self.api.clone(), over.clone()));
        let writers =
            self.writers.iter().cloned().map(|writer| write_as_person(writer, self.world.clone(), over.clone()));
        Running {
            chats: chats.map(actix_web::rt::spawn).collect(),
            writers: writers.map(actix_web::rt::spawn).collect(),
            over,
        }
    }

    pub async fn end(&mut self, running: Running) -> Result<(), Failed> {
        running.over.store(true, Ordering::SeqCst);
        (self.chats, self.writers) = (Vec::new(), Vec::new());
        for chat in running.chats {
            self.chats.push(chat.await?);
        }
        for writer in running.writers {
            self.writers.push(writer.await?);
        }
        Ok(())
    }
}

async fn write_chat(mut chat: Chat, client: reqwest::Client, api: String, over: Arc<AtomicBool>) -> Chat {
    let end = chat.accepted + PER_ROUND;
    while chat.accepted < end && !over.load(Ordering::SeqCst) {
        let text = chat.text(chat.accepted);
        let body = json!({ "to": chat.to, "type": "text", "text": { "body": text } });
        let request = client.post(format!("{api}/accounts/{}/messages", chat.account)).bearer_auth(KEY);
        let answer = request.header("idempotency-key", &text).json(&body).send().await;
        match answer {
            Ok(answer) if answer.status().as_u16() == 202 => chat.accepted += 1,
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
    chat
}

async fn write_as_person(mut writer: Writer, world: WorldHost, over: Arc<AtomicBool>) -> Writer {
    for _ in 0..PER_ROUND {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let (from, to, text) = (writer.from, writer.to, writer.text(writer.written));
        if let Some(Ok(_)) = world.with(move |world| world.write_text(from, to, &text)).await {
            writer.written += 1;
        }
        tokio::time::sleep(PAUSE * 4).await;
    }
    writer
}

/// Polls until the condition holds, for a minute at most.
pub async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) -> Result<(), Failed> {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(PAUSE * 4).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking)
        .await
        .map_err(|_| format!("it never came about: {what}").into())
}
