//! Fairness: the time until a message of one account is accepted while another account is busy.

use crate::server::{Failed, It, until};
use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, interval};

const BUSY: usize = 0;
const OTHER: usize = 1;
const FLOOD: usize = 10_000;
const NEWCOMERS: usize = 1_000;

async fn send(it: &It, account: usize, to: &str) -> Result<Duration, Failed> {
    let begun = Instant::now();
    let body = json!({ "to": to, "type": "text", "text": { "body": "how long does this take?" } });
    it.request("POST", &format!("/v1/accounts/a{account}/messages"), Some(body)).await?;
    Ok(begun.elapsed())
}

/// Sends from the other account one after the other until told to stop. Prints p50 and p99 in milliseconds.
async fn measure_other(it: &It, what: &str, mut wanted: impl AsyncFnMut(usize) -> bool) -> Result<(), Failed> {
    let mut times = Vec::new();
    while wanted(times.len()).await {
        times.push(send(it, OTHER, &It::number(OTHER + 1)).await?);
    }
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what}: {} sends of another account, p50 {:.1} ms, p99 {:.1} ms", times.len(), at(0.5), at(0.99));
    Ok(())
}

/// A contact sends a hundred messages a second, first such as can be read, then such as do not decrypt.
async fn forgeries(it: &It) -> Result<(), Failed> {
    a_hundred_a_second(it, "that can be read").await?;
    let fault = json!({ "kind": "corrupt", "account": It::number(BUSY) });
    it.control("POST", "/faults", Some(fault)).await?;
    a_hundred_a_second(it, "that do not decrypt").await?;
    it.control("DELETE", "/faults", None).await?;
    Ok(())
}

async fn a_hundred_a_second(it: &It, messages: &str) -> Result<(), Failed> {
    let (mut ticks, end) = (interval(Duration::from_millis(10)), Instant::now() + Duration::from_secs(20));
    let sending = async {
        while Instant::now() < end {
            ticks.tick().await;
            let message = json!({ "to": It::number(BUSY), "text": "one of a hundred" });
            it.control("POST", "/phones/15550000002/messages", Some(message)).await?;
        }
        Ok::<_, Failed>(())
    };
    let what = format!("while a contact sends a hundred messages a second {messages}");
    let measuring = measure_other(it, &what, async |_| Instant::now() < end);
    let (sent, measured) = futures_util::join!(sending, measuring);
    sent.and(measured)
}

pub async fn measure(prekeys: u32) -> Result<(), Failed> {
    let it = It::start(prekeys).await?;
    until("the server is ready", async || it.is_ready().await).await?;
    it.link(BUSY).await?;
    it.link(OTHER).await?;
    it.control("POST", "/phones", Some(json!({ "number": It::number(OTHER + 1) }))).await?;
    measure_other(&it, "quiet", async |sent| sent < 500).await?;

    // Messages written while the account is offline arrive together.
    it.request("POST", "/v1/accounts/a0/stop", None).await?;
    let write = |_| {
        let message = json!({ "to": It::number(BUSY), "text": "one of many" });
        it.control("POST", "/phones/15550000002/messages", Some(message))
    };
    for written in iter(0..FLOOD).map(write).buffer_unordered(16).collect::<Vec<_>>().await {
        written?;
    }
    it.request("POST", "/v1/accounts/a0/start", None).await?;
    let begun = Instant::now();
    let mut cursor = String::new();
    let mut received = 0;
    measure_other(&it, "while 10,000 messages come in", async |_| {
        let path = format!("/v1/events?account=a0&type=message.received&limit=1000{cursor}");
        let Ok(page) = it.request("GET", &path, None).await else { return true };
        received += page["data"].as_array().map_or(0, Vec::len);
        cursor = format!("&after={}", page["next"].as_str().unwrap_or_default());
        received < FLOOD
    })
    .await?;
    println!("{FLOOD} messages received in {:.1} s", begun.elapsed().as_secs_f64());

    forgeries(&it).await?;

    let phones = iter(0..NEWCOMERS).map(|index| {
        let number = It::number(5000 + index);
        let it = &it;
        async move { it.control("POST", "/phones", Some(json!({ "number": number }))).await }
    });
    for created in phones.buffer_unordered(16).collect::<Vec<_>>().await {
        created?;
    }
    let begun = Instant::now();
    let to: Vec<String> = (0..NEWCOMERS).map(|index| It::number(5000 + index)).collect();
    let sending = iter(&to).map(|to| send(&it, BUSY, to)).buffer_unordered(32).collect::<Vec<_>>();
    let measuring = measure_other(&it, "while first messages go to 1,000 new devices", async |_| {
        let last = it.control("GET", &format!("/phones/{}/messages", to[NEWCOMERS - 1]), None).await;
        !last.is_ok_and(|messages| messages["data"].as_array().is_some_and(|all| !all.is_empty()))
    });
    let (sent, measured) = futures_util::join!(sending, measuring);
    for sent in sent {
        sent?;
    }
    measured?;
    println!("{NEWCOMERS} first messages on their way in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}
