//! The checks after the last restart.

use crate::hook::Inbox;
use crate::ledger::Ledger;
use crate::load::{ACCOUNTS, Failed, Load, until};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use wharf::sandbox::world::PhoneMessage;

/// Waits until everything has arrived. Returns the violations and the counts.
pub async fn reach(
    load: &mut Load,
    ledger: &Arc<Mutex<Ledger>>,
    inbox: &Arc<Mutex<Inbox>>,
) -> Result<(Vec<String>, String), Failed> {
    let mut violations = Vec::new();
    // The accounts come online without a start command.
    for (account, _) in ACCOUNTS {
        if let Err(error) = until("the account is online", async || load.online(account).await).await {
            return Err(format!("{error}: {}", load.get(&format!("/accounts/{account}")).await?).into());
        }
    }
    let (mut accepted, mut copies) = (0, 0);
    for chat in load.chats.clone() {
        accepted += chat.accepted;
        let wanted: Vec<String> = (0..chat.accepted).map(|number| chat.text(number)).collect();
        let prefix = format!("{}>{} ", chat.account, chat.to);
        let mut read = Vec::new();
        let arrived = until("all is on the phone", async || {
            read = on_phone(load, chat.reader, &prefix).await;
            // One that was sent without an answer may have been accepted.
            read.len() >= wanted.len()
        });
        arrived.await.unwrap_or_else(|error| violations.push(format!("{prefix}: {error}")));
        copies += read.iter().map(|message| message.copies as usize).sum::<usize>();
        let texts: Vec<_> = read.iter().map(|message| message.text.clone().unwrap_or_default()).collect();
        check_order(&mut violations, &prefix, &wanted, &texts);
        // The account's own phone has a copy of each.
        let own = on_phone(load, chat.number, &prefix).await;
        if own.len() != read.len() {
            violations.push(format!("{prefix}: the own phone has {}, the other {}", own.len(), read.len()));
        }
    }
    let mut unreadable = 0;
    for number in ["15550001111", "15550002222", "15550003333", "15550004444"] {
        let all = load.world.with(move |world| world.phone_messages(number).map(<[_]>::to_vec)).await;
        let all = all.ok_or("no world")??;
        unreadable += all.iter().filter(|message| message.kind == "undecryptable").count();
    }
    if unreadable > 0 {
        violations.push(format!("the phones could not read {unreadable} messages"));
    }

    let mut written = 0;
    for (account, _) in ACCOUNTS {
        let mut texts: HashMap<String, Vec<String>> = HashMap::new();
        let mut log = Vec::new();
        let expected: usize = load.writers.iter().filter(|w| w.account == account).map(|w| w.written).sum();
        let complete = until("everything received is in the log", async || {
            log = events(load, account).await.unwrap_or_default();
            log.iter().filter(|event| body(event).contains('<')).count() >= expected
        });
        complete.await.unwrap_or_else(|error| violations.push(format!("{account}: {error}")));
        for event in &log {
            let from = body(event).split(' ').next().unwrap_or_default().to_owned();
            texts.entry(from).or_default().push(body(event));
        }
        for writer in load.writers.iter().filter(|writer| writer.account == account) {
            written += writer.written;
            let prefix = format!("{account}<{} ", writer.from);
            let wanted: Vec<String> = (0..writer.written).map(|number| writer.text(number)).collect();
            let logged = texts.remove(prefix.trim_end()).unwrap_or_default();
            check_order(&mut violations, &prefix, &wanted, &logged);
        }
        let delivered = until("every event is at the webhook", async || {
            let inbox = inbox.lock().unwrap();
            log.iter().all(|event| inbox.events.contains_key(event["id"].as_str().unwrap_or_default()))
        });
        delivered.await.unwrap_or_else(|error| violations.push(format!("{account}: {error}")));
        compare(&mut violations, account, &log, &inbox.lock().unwrap());
        let undecryptable =
            load.get(&format!("/events?account={account}&type=message.undecryptable&limit=1000")).await?;
        let count = undecryptable["data"].as_array().map_or(0, Vec::len);
        if count > 0 {
            violations.push(format!("{account} could not read {count} messages"));
        }
    }
    violations.append(&mut ledger.lock().unwrap().violations);
    violations.append(&mut inbox.lock().unwrap().violations);
    let (ledger, inbox) = (ledger.lock().unwrap(), inbox.lock().unwrap());
    let counts = format!(
        "{accepted} sends accepted, {copies} copies at the phones; {} ciphertexts, {} written again with the same bytes\n\
         {written} messages received; {} events at the webhook, {} repeated",
        ledger.ciphertexts(),
        ledger.repeated,
        inbox.events.len(),
        inbox.repeated,
    );
    Ok((violations, counts))
}

fn body(event: &Value) -> String {
    event["data"]["text"]["body"].as_str().unwrap_or_default().to_owned()
}

/// The log and the webhook agree on each event.
fn compare(violations: &mut Vec<String>, account: &str, log: &[Value], inbox: &Inbox) {
    for event in log {
        let id = event["id"].as_str().unwrap_or_default();
        let sent = inbox.events.get(id).and_then(|sent| serde_json::from_slice::<Value>(sent).ok());
        if sent.is_some_and(|sent| sent != *event) {
            violations.push(format!("{account}: event {id} is another at the webhook than in the log"));
        }
    }
}

/// Each once, in order; the last may be one whose answer was lost.
fn check_order(violations: &mut Vec<String>, prefix: &str, wanted: &[String], found: &[String]) {
    if found.len() < wanted.len() || found.len() > wanted.len() + 1 {
        violations.push(format!("{prefix}: {} accepted, {} arrived", wanted.len(), found.len()));
    }
    if let Some((at, (wanted, found))) =
        wanted.iter().zip(found).enumerate().find(|(_, (wanted, found))| wanted != found)
    {
        violations.push(format!("{prefix}: at {at} {found:?} where {wanted:?} should be"));
    }
}

async fn on_phone(load: &Load, number: &'static str, prefix: &str) -> Vec<PhoneMessage> {
    let all = load.world.with(move |world| world.phone_messages(number).map(<[_]>::to_vec)).await;
    let all = all.and_then(Result::ok).unwrap_or_default();
    all.into_iter().filter(|message| message.text.as_ref().is_some_and(|text| text.starts_with(prefix))).collect()
}

async fn events(load: &Load, account: &str) -> Result<Vec<Value>, Failed> {
    let (mut events, mut after) = (Vec::new(), String::new());
    loop {
        let page = load.get(&format!("/events?account={account}&type=message.received&limit=1000{after}")).await?;
        let data = page["data"].as_array().cloned().unwrap_or_default();
        if data.is_empty() {
            return Ok(events);
        }
        events.extend(data);
        after = format!("&after={}", page["next"].as_str().unwrap_or_default());
    }
}
