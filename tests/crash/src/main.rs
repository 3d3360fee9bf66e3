//! Kills the real server at random moments and at every point around a commit, under load, amid cut connections and duplicates, and
//! checks the promises of `architecture.md` at the service, on the phones, in the event log and at the webhook.
//!
//! `cargo run --release -p wharf-crash -- --kills 500 --seed 1` (`--store`: a store under compaction alone); the decisions follow from the seed, the interleaving is the machine's.
#![forbid(unsafe_code)]

mod hook;
mod ledger;
mod load;
mod store;
mod verdict;

use clap::Parser;
use hook::Inbox;
use ledger::Ledger;
use load::Load;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::process::{Child, Command};
use wharf::app::start_sandbox;
use wharf::base::hooks::Point;
use wharf::base::time::{Clock, SystemClock};
use wharf::sandbox::world::{FaultKind, NewFault, World};

pub const KEY: &str = "an admin key of thirty-two letters";
const SIGABRT: i32 = 6;
/// Each point is to be hit this often in a long run.
const ENOUGH_HITS: usize = 20;
const LONG_RUN: usize = 500;
/// A round that has not reached its point by then ends with SIGKILL.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Parser)]
#[command(about = "Kills the server again and again, and checks what it promised")]
struct Arguments {
    #[arg(long, default_value_t = 25)]
    kills: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kill a store that is compacted instead of the whole server.
    #[arg(long)]
    store: bool,
}

/// The server program, its data folder and ports.
struct Program {
    path: PathBuf,
    data: PathBuf,
    port: u16,
    sandbox: String,
}

impl Program {
    fn start(&self, crash_at: Option<String>) -> std::io::Result<Child> {
        let mut command = Command::new(&self.path);
        command
            .arg("serve")
            .env("WHARF__LISTEN", format!("127.0.0.1:{}", self.port))
            .env("WHARF__DATA", &self.data)
            .env("WHARF__LOG", "error")
            .env("WHARF__NETWORK__KIND", "sandbox")
            .env("WHARF__NETWORK__URL", &self.sandbox)
            .env("WHARF__ACCOUNTS__PREKEY_BATCH", "50")
            .env("WHARF_ADMIN_KEY", KEY)
            .stdout(Stdio::null())
            .kill_on_drop(true);
        if let Some(at) = crash_at {
            command.env("WHARF_CRASH_AT", at);
        }
        command.spawn()
    }
}

/// The end of a round: at its point, or by SIGKILL.
async fn end_of(server: &mut Child, patience: Duration) -> std::io::Result<bool> {
    match tokio::time::timeout(patience, server.wait()).await {
        Ok(status) => {
            let status = status?;
            if status.signal() == Some(SIGABRT) {
                return Ok(true);
            }
            Err(std::io::Error::other(format!("the server ended by itself: {status}")))
        }
        Err(_) => {
            server.kill().await?;
            Ok(false)
        }
    }
}

async fn run(arguments: Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let begun = SystemClock::start().now();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir()?;
    let sandbox = start_sandbox("127.0.0.1:0")?;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let tap = Ledger::tap(&ledger);
    sandbox.world.with(move |world| world.tap(tap)).await.ok_or("the sandbox is gone")?;
    let inbox = Arc::new(Mutex::new(Inbox::default()));
    let hook = hook::serve(inbox.clone())?;
    let program = Program {
        path: beside("crashing-wharf")?,
        data: folder.path().join("data"),
        port: std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
        sandbox: sandbox.ws_url(),
    };
    let mut load = Load::new(program.port, sandbox.world.clone())?;
    let mut server = program.start(None)?;
    load.set_up(&format!("http://{hook}/")).await?;
    server.kill().await?;

    let mut rng = StdRng::seed_from_u64(arguments.seed);
    let mut hits: BTreeMap<&str, usize> = BTreeMap::new();
    for round in 0..arguments.kills {
        // One round in nine is killed from outside; the others at each point in turn.
        let point = Point::AROUND_COMMIT.get(round % (Point::AROUND_COMMIT.len() + 1));
        let crash_at = point.map(|point| format!("{point}:{}", rng.random_range(1..=40)));
        let patience = if point.is_some() { PATIENCE } else { Duration::from_millis(rng.random_range(50..1000)) };
        let fault = |kind, count, seed| NewFault { kind, account: None, count: Some(count), until: None, seed };
        let mut faults = vec![fault(FaultKind::Duplicate, rng.random_range(1..4), rng.random())];
        // A cut connection costs a second: with more of them little would be under way when the server is killed.
        if rng.random_ratio(1, 5) {
            faults.push(fault(FaultKind::Disconnect, 1, rng.random()));
        }
        let add = move |world: &mut World| faults.into_iter().for_each(|fault| drop(world.add_fault(fault)));
        sandbox.world.with(add).await.ok_or("the sandbox is gone")?;
        let mut server = program.start(crash_at)?;
        let running = load.begin();
        let at_its_point = end_of(&mut server, patience).await?;
        load.end(running).await?;
        sandbox.world.with(World::clear_faults).await.ok_or("the sandbox is gone")?;
        *hits.entry(point.filter(|_| at_its_point).map_or("SIGKILL", |point| point.name())).or_default() += 1;
        if round % 50 == 49 {
            println!("{} kills, {} s", round + 1, SystemClock::start().now().secs() - begun.secs());
        }
    }

    let mut server = program.start(None)?;
    let outcome = verdict::reach(&mut load, &ledger, &inbox).await;
    server.kill().await?;
    sandbox.stop().await;
    let (mut violations, counts) = outcome?;
    println!(
        "{} kills with seed {} in {} s",
        arguments.kills,
        arguments.seed,
        SystemClock::start().now().secs() - begun.secs()
    );
    for (point, count) in &hits {
        println!("  {count:4} at {point}");
    }
    println!("{counts}");
    if arguments.kills >= LONG_RUN {
        for point in Point::AROUND_COMMIT {
            let count = hits.get(point.name()).copied().unwrap_or_default();
            if count < ENOUGH_HITS {
                violations.push(format!("{point} was hit {count} times only"));
            }
        }
    }
    violations.iter().for_each(|violation| println!("VIOLATION: {violation}"));
    if violations.is_empty() {
        println!("nothing lost, nothing twice");
    }
    Ok(violations.is_empty())
}

fn beside(name: &str) -> std::io::Result<PathBuf> {
    let this = std::env::current_exe()?;
    Ok(this.parent().unwrap_or(Path::new(".")).join(name))
}

#[actix_web::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.store {
        true => store::run(arguments.kills, arguments.seed).await,
        false => run(arguments).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("crash: {error}");
            ExitCode::FAILURE
        }
    }
}
