//! Measures a real server, with the sandbox in another process: start and memory with many accounts, and the effect of a flooded
//! account on the others.
//!
//! `cargo build --release && cargo run --release -p wharf-load -- --accounts 1000`
#![forbid(unsafe_code)]

mod fairness;
mod server;
mod throughput;

use clap::Parser;
use server::{Failed, It, until};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Parser)]
#[command(about = "Measures a real server with many accounts")]
struct Arguments {
    #[arg(long, default_value_t = 1000)]
    accounts: usize,
    /// Seconds that the accounts are idle before their memory is measured.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// One-time prekeys of an account.
    #[arg(long, default_value_t = 100)]
    prekeys: u32,
    /// Measure fairness only.
    #[arg(long)]
    fairness: bool,
    /// Measure what a message costs: so many texts, shared out among the accounts.
    #[arg(long)]
    messages: Option<usize>,
    /// Measure how accounts reconnect after the network was down for so many seconds.
    #[arg(long)]
    storm: Option<u64>,
}

async fn memory_and_start(arguments: &Arguments) -> Result<(), Failed> {
    let mut it = It::start(arguments.prekeys).await?;
    until("the server is ready", async || it.is_ready().await).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let empty = it.resident_kib()?;
    let begun = Instant::now();
    it.link_all(arguments.accounts).await?;
    println!("{} accounts linked in {:.1} s", arguments.accounts, begun.elapsed().as_secs_f64());

    it.stop().await?;
    println!("data on disk: {:.1} MiB", it.data_bytes()? as f64 / f64::from(1 << 20));
    let begun = Instant::now();
    it.serve()?;
    until("the server is ready", async || it.is_ready().await).await?;
    let ready = begun.elapsed().as_secs_f64();
    until("all are online", async || it.online().await == arguments.accounts).await?;
    println!("ready {ready:.2} s after start, all online after {:.1} s", begun.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_secs(arguments.idle)).await;
    let full = it.resident_kib()?;
    println!(
        "resident: {empty} KiB with none, {full} KiB with {}: {:.0} KiB an account, idle for {} s",
        arguments.accounts,
        (full - empty) as f64 / arguments.accounts as f64,
        arguments.idle,
    );
    it.stop().await
}

/// The network goes down under all accounts at once, and comes up again.
async fn storm(arguments: &Arguments, down: u64) -> Result<(), Failed> {
    let mut it = It::start(arguments.prekeys).await?;
    until("the server is ready", async || it.is_ready().await).await?;
    it.link_all(arguments.accounts).await?;
    let before = it.resident_kib()?;
    it.network_down().await?;
    until("all have lost their connections", async || it.online().await == 0).await?;
    tokio::time::sleep(Duration::from_secs(down)).await;
    it.network_up().await?;
    let begun = Instant::now();
    let (mut seen, mut peak) = (vec![(begun, 0)], before);
    while seen.last().is_some_and(|(_, online)| *online < arguments.accounts) {
        if begun.elapsed() > Duration::from_secs(1200) {
            return Err("not all came back within twenty minutes".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        seen.push((Instant::now(), it.online().await));
        peak = peak.max(it.resident_kib()?);
    }
    let in_a_second = |at: usize| {
        let end = seen[at].0 + Duration::from_secs(1);
        seen[at..].iter().take_while(|(when, _)| *when <= end).map(|(_, online)| online - seen[at].1).max()
    };
    let fastest = (0..seen.len()).filter_map(in_a_second).max().unwrap_or_default();
    println!(
        "{} accounts, the network down for {down} s: all online {:.1} s after it came back, at most {fastest} in a second; \
         resident {before} KiB before, {peak} KiB at most",
        arguments.accounts,
        begun.elapsed().as_secs_f64(),
    );
    it.stop().await
}

#[actix_web::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let measured = match &arguments {
        Arguments { fairness: true, .. } => fairness::measure(arguments.prekeys).await,
        Arguments { storm: Some(down), .. } => storm(&arguments, *down).await,
        Arguments { messages: Some(count), .. } => {
            throughput::measure(arguments.accounts, *count, arguments.prekeys).await
        }
        _ => memory_and_start(&arguments).await,
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}
