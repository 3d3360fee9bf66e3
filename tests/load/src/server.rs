//! The two processes, and a client of both.

use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

pub type Failed = Box<dyn std::error::Error>;

/// Linux counts processor time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);
/// Accounts that are linked at a time.
const AT_ONCE: usize = 8;
const KEY: &str = "an admin key of thirty-two letters";

pub struct It {
    folder: tempfile::TempDir,
    program: PathBuf,
    prekeys: u32,
    port: u16,
    sandbox_port: u16,
    sandbox: Option<Child>,
    server: Option<Child>,
    client: reqwest::Client,
}

fn port() -> Result<u16, Failed> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl It {
    pub async fn start(prekeys: u32) -> Result<Self, Failed> {
        let program = std::env::current_exe()?.parent().unwrap_or(Path::new(".")).join("wharf");
        if !program.exists() {
            return Err(format!("{} is missing: cargo build --release", program.display()).into());
        }
        let (port, sandbox_port) = (port()?, port()?);
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
        let folder = tempfile::tempdir_in("target")?;
        let mut it = Self { folder, program, prekeys, port, sandbox_port, sandbox: None, server: None, client };
        it.network_up().await?;
        it.serve()?;
        Ok(it)
    }

    /// Starts the network, as it was when it went down.
    pub async fn network_up(&mut self) -> Result<(), Failed> {
        let sandbox = Command::new(&self.program)
            .args(["sandbox", "--media", "127.0.0.1:0", "--listen", &format!("127.0.0.1:{}", self.sandbox_port)])
            .arg("--data")
            .arg(self.folder.path().join("network"))
            .env("RUST_LOG", "error")
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        self.sandbox = Some(sandbox);
        until("the sandbox answers", async || self.control("GET", "/faults", None).await.is_ok()).await
    }

    /// Kills the network.
    pub async fn network_down(&mut self) -> Result<(), Failed> {
        if let Some(mut sandbox) = self.sandbox.take() {
            sandbox.kill().await?;
        }
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn serve(&mut self) -> Result<(), Failed> {
        let server = Command::new(&self.program)
            .arg("serve")
            .env("WHARF__LISTEN", format!("127.0.0.1:{}", self.port))
            .env("WHARF__DATA", self.data())
            .env("WHARF__LOG", "error")
            .env("WHARF__NETWORK__KIND", "sandbox")
            .env("WHARF__NETWORK__URL", format!("ws://127.0.0.1:{}/ws/chat", self.sandbox_port))
            .env("WHARF__ACCOUNTS__PREKEY_BATCH", self.prekeys.to_string())
            .env("WHARF_ADMIN_KEY", KEY)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        self.server = Some(server);
        Ok(())
    }

    pub async fn stop(&mut self) -> Result<(), Failed> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        let id = server.id().ok_or("the server has ended")?.to_string();
        Command::new("kill").args(["-TERM", &id]).status().await?;
        server.wait().await?;
        Ok(())
    }

    /// Resident memory of the server, in KiB.
    pub fn resident_kib(&self) -> Result<i64, Failed> {
        let id = self.server.as_ref().and_then(Child::id).ok_or("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }

    /// Processor time of the server, user and system.
    pub fn processor_time(&self) -> Result<Duration, Failed> {
        let id = self.server.as_ref().and_then(Child::id).ok_or("the server has ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name in parentheses may contain blanks.
        let (_, fields) = stat.rsplit_once(") ").ok_or("an unknown form of /proc/PID/stat")?;
        let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(TICK * ticks)
    }

    /// What the server exports, by name and labels.
    pub async fn metrics(&self) -> Result<HashMap<String, f64>, Failed> {
        let request = self.client.get(format!("http://127.0.0.1:{}/metrics", self.port)).bearer_auth(KEY);
        let text = request.send().await?.text().await?;
        let samples = text.lines().filter_map(|line| line.split_once(' '));
        Ok(samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    pub fn data_bytes(&self) -> Result<u64, Failed> {
        Ok(wharf::storage::folder_size(&self.data())?)
    }

    pub async fn request(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Failed> {
        let request = self.client.request(method.parse()?, format!("http://127.0.0.1:{}{path}", self.port));
        send(request.bearer_auth(KEY), body).await
    }

    pub async fn control(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Failed> {
        let request = self.client.request(method.parse()?, format!("http://127.0.0.1:{}{path}", self.sandbox_port));
        send(request, body).await
    }

    pub async fn is_ready(&self) -> bool {
        self.request("GET", "/readyz", None).await.is_ok()
    }

    /// The number of online accounts.
    pub async fn online(&self) -> usize {
        let metrics = self.metrics().await.unwrap_or_default();
        metrics.get("wharf_accounts{state=\"online\"}").map_or(0, |count| *count as usize)
    }

    pub fn number(index: usize) -> String {
        format!("1555{index:07}")
    }

    /// Links so many accounts, some at a time.
    pub async fn link_all(&self, accounts: usize) -> Result<(), Failed> {
        let linked = iter(0..accounts).map(|number| self.link(number)).buffer_unordered(AT_ONCE);
        linked.collect::<Vec<_>>().await.into_iter().collect()
    }

    /// Links an account with its own phone, and waits until it is online.
    pub async fn link(&self, index: usize) -> Result<(), Failed> {
        let (id, number) = (format!("a{index}"), Self::number(index));
        self.control("POST", "/phones", Some(json!({ "number": number }))).await?;
        self.request("POST", "/v1/accounts", Some(json!({ "id": id }))).await?;
        self.request("POST", &format!("/v1/accounts/{id}/start"), None).await?;
        let code = self.request("GET", &format!("/v1/accounts/{id}/qr"), None).await?;
        self.control("POST", &format!("/phones/{number}/scan"), Some(json!({ "qr": code["code"] }))).await?;
        let account = format!("/v1/accounts/{id}");
        until("the account is online", async || {
            self.request("GET", &account, None).await.is_ok_and(|account| account["state"] == "online")
        })
        .await
    }
}

async fn send(request: reqwest::RequestBuilder, body: Option<Value>) -> Result<Value, Failed> {
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let bytes = request.send().await?.error_for_status()?.bytes().await?;
    // An answer may have no body.
    Ok(if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes)? })
}

/// Polls until the condition holds, for two minutes at most.
pub async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) -> Result<(), Failed> {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), asking)
        .await
        .map_err(|_| format!("it never came about: {what}").into())
}
