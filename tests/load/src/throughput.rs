//! Throughput: texts by REST from many accounts until every recipient's phone has read them, and what one costs the server.

use crate::server::{Failed, It, until};
use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// A server that has used no processor time for so long has done everything.
const QUIET: Duration = Duration::from_millis(500);

fn recipient(index: usize) -> String {
    format!("1556{index:07}")
}

/// Sends `count` texts from each account, one after the other, all accounts at once.
async fn send(it: &It, accounts: usize, count: usize) -> Result<(), Failed> {
    let sending = iter(0..accounts).map(async |account| {
        let path = format!("/v1/accounts/a{account}/messages");
        for number in 0..count {
            let text = format!("message {number}: how much does this one cost?");
            let body = json!({ "to": recipient(account), "type": "text", "text": { "body": text } });
            it.request("POST", &path, Some(body)).await?;
        }
        Ok::<_, Failed>(())
    });
    sending.buffer_unordered(accounts).collect::<Vec<_>>().await.into_iter().collect()
}

async fn all_read(it: &It, accounts: usize, count: usize) -> Result<(), Failed> {
    for account in 0..accounts {
        let path = format!("/phones/{}/messages", recipient(account));
        until("the recipient has read everything", async || {
            let messages = it.control("GET", &path, None).await.unwrap_or_default();
            messages["data"].as_array().is_some_and(|messages| messages.len() >= count)
        })
        .await?;
    }
    Ok(())
}

/// The processor time of the server once it does nothing more.
async fn settled(it: &It) -> Result<Duration, Failed> {
    let mut before = it.processor_time()?;
    loop {
        tokio::time::sleep(QUIET).await;
        let now = it.processor_time()?;
        if now.saturating_sub(before) <= Duration::from_millis(10) {
            return Ok(now);
        }
        before = now;
    }
}

/// Prints what a first and what a later message costs, and how many are read in a second.
pub async fn measure(accounts: usize, messages: usize, prekeys: u32) -> Result<(), Failed> {
    let it = It::start(prekeys).await?;
    until("the server is ready", async || it.is_ready().await).await?;
    it.link_all(accounts).await?;
    for account in 0..accounts {
        it.control("POST", "/phones", Some(json!({ "number": recipient(account) }))).await?;
    }
    let quiet = settled(&it).await?;
    send(&it, accounts, 1).await?;
    all_read(&it, accounts, 1).await?;
    let first = settled(&it).await?;
    // Answered once, a session is no longer announced with each message.
    for account in 0..accounts {
        let message = json!({ "to": It::number(account), "text": "an answer" });
        it.control("POST", &format!("/phones/{}/messages", recipient(account)), Some(message)).await?;
    }
    let answered = settled(&it).await?;
    let (before, begun) = (it.metrics().await?, Instant::now());
    let each = messages.div_ceil(accounts);
    send(&it, accounts, each).await?;
    let accepted = begun.elapsed();
    all_read(&it, accounts, each + 1).await?;
    let read = begun.elapsed();
    let (end, after) = (settled(&it).await?, it.metrics().await?);
    let sent = (each * accounts) as f64;
    let micros = |time: Duration, count: f64| time.as_secs_f64() * 1e6 / count;
    println!(
        "{accounts} accounts: first message {:.0} µs, then {:.0} µs of processor time each; {:.0} a second accepted, {:.0} read",
        micros(first - quiet, accounts as f64),
        micros(end - answered, sent),
        sent / accepted.as_secs_f64(),
        sent / read.as_secs_f64(),
    );
    let per = |name: &str| (after.get(name).unwrap_or(&0.0) - before.get(name).unwrap_or(&0.0)) / sent;
    println!(
        "a message: {:.2} turns, {:.3} syncs, {:.1} rows, {:.0} bytes",
        per("wharf_turns_total"),
        per("wharf_syncs_total"),
        per("wharf_commit_rows_total"),
        per("wharf_commit_bytes_total"),
    );
    Ok(())
}
