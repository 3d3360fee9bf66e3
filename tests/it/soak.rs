//! One simulated week of three accounts: messages at all hours, lost connections, reinstalled phones, rotated keys. No message is lost
//! or read twice, and no record accumulates.
//!
//! `WHARF_DAYS` and `WHARF_SEED` choose another length and another week.

use crate::net::Net;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;
use wharf::account::{AccountState, Counter, Input};
use wharf::sandbox::world::{FaultKind, FaultSummary, NewFault};
use wharf::storage::kind;

const ACCOUNTS: [(&str, &str); 3] = [("alice", "15550001111"), ("bob", "15550002222"), ("carol", "15550003333")];
/// Phones without an account; one of them reinstalls every third day.
const PHONES: [&str; 2] = ["15550004444", "15550005555"];
const HOUR: Duration = Duration::from_secs(3600);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Texts by their recipients.
#[derive(Default)]
struct Written {
    count: u64,
    /// Texts by the number of their reader.
    due: BTreeMap<&'static str, Vec<String>>,
    /// Texts that accounts had read before their restart.
    read: BTreeMap<&'static str, Vec<String>>,
}

impl Written {
    fn text(&mut self, readers: &[&'static str]) -> String {
        self.count += 1;
        let text = format!("message {}", self.count);
        for reader in readers {
            self.due.entry(reader).or_default().push(text.clone());
        }
        text
    }
}

fn everybody() -> Vec<&'static str> {
    ACCOUNTS.iter().map(|(_, number)| *number).chain(PHONES).collect()
}

fn hour(net: &mut Net, written: &mut Written, group: &str, rng: &mut StdRng) {
    for _ in 0..rng.random_range(0..4) {
        let (name, number) = *ACCOUNTS.choose(rng).unwrap();
        let others: Vec<&str> = everybody().into_iter().filter(|other| *other != number).collect();
        if rng.random_bool(0.3) {
            let text = written.text(&others);
            net.send(name, group, &text);
        } else {
            let to = *others.choose(rng).unwrap();
            let text = written.text(&[to]);
            net.send(name, to, &text);
        }
    }
    let phone = *PHONES.choose(rng).unwrap();
    let (_, to) = *ACCOUNTS.choose(rng).unwrap();
    let text = written.text(&[to]);
    net.world.write_text(phone, to, &text).unwrap();
    let (name, number) = *ACCOUNTS.choose(rng).unwrap();
    if rng.random_bool(0.5) {
        net.input(name, Input::Rest);
    }
    match rng.random_range(0..8) {
        0 => net.cut(name),
        1 => {
            let read = received(net, name);
            written.read.entry(number).or_default().extend(read);
            net.restart(name);
        }
        2 => net.stop(name),
        _ => {
            let kinds = [
                FaultKind::Corrupt,
                FaultKind::Duplicate,
                FaultKind::Reorder,
                FaultKind::Pull,
                FaultKind::Swallow,
                FaultKind::RefusePrekeys { code: 503 },
                FaultKind::EmptyPrekeys,
                FaultKind::Delay { ms: 3000 },
                FaultKind::Disconnect,
                FaultKind::StreamError { code: 503 },
            ];
            let kind = *kinds.choose(rng).unwrap();
            let fault =
                NewFault { kind, account: Some(number.into()), count: Some(1), until: None, seed: rng.random() };
            // A message that is swallowed three times fails with `outcome_unknown`, which is not tested here.
            let waits = |it: &FaultSummary| it.hits == 0 && it.fault.kind == kind && it.fault.account == fault.account;
            if !net.world.faults().iter().any(waits) {
                net.world.add_fault(fault);
            }
        }
    }
    net.pass(HOUR);
    for (name, _) in ACCOUNTS {
        net.start(name);
    }
}

fn received(net: &Net, name: &str) -> Vec<String> {
    let events = net.events(name, "message.received");
    events.iter().map(|data| data["text"]["body"].as_str().unwrap().to_owned()).collect()
}

fn read_by(net: &Net, written: &Written, number: &str) -> Vec<String> {
    let account = ACCOUNTS.iter().find(|(_, own)| *own == number);
    match account {
        Some((name, _)) => {
            let before = written.read.get(number).cloned().unwrap_or_default();
            [before, received(net, name)].concat()
        }
        None => {
            let read = net.world.phone_messages(number).unwrap();
            read.iter().filter(|it| it.kind == "text").filter_map(|it| it.text.clone()).collect()
        }
    }
}

fn rows(net: &Net, name: &str, kind: u8) -> usize {
    net.backup(name).iter().filter(|(key, _)| key[16] == kind).count()
}

#[test]
fn every_message_of_a_week_is_read_once_and_no_record_accumulates() {
    let (days, seed) = (setting("WHARF_DAYS", 7), setting("WHARF_SEED", 1));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut net = Net::new();
    for (name, number) in ACCOUNTS {
        net.linked(name, number);
    }
    for phone in PHONES {
        net.world.create_phone(phone, None).unwrap();
    }
    let members: Vec<String> = everybody().into_iter().map(str::to_owned).collect();
    let group = net.world.create_group("crew", &members[0], &members[1..]).unwrap().id;
    net.settle();
    // The signed prekeys are three weeks old by now: they are replaced within the week.
    net.clock_set_ahead = Duration::from_secs(23 * 24 * 3600);
    let mut written = Written::default();
    for day in 1..=days {
        for _ in 0..24 {
            hour(&mut net, &mut written, &group, &mut rng);
        }
        if day % 3 == 0 {
            net.world.reinstall(PHONES[0]).unwrap();
        }
        for (name, _) in ACCOUNTS {
            while net.sweep(name) {}
        }
    }
    net.world.clear_faults();
    net.pass(HOUR);
    for (name, _) in ACCOUNTS {
        assert_eq!(net.state(name), AccountState::Online, "{name}");
    }
    for (reader, texts) in &written.due {
        let read = read_by(&net, &written, reader);
        let wrong: Vec<_> =
            texts.iter().filter(|text| read.iter().filter(|other| other == text).count() != 1).collect();
        assert!(wrong.is_empty(), "{reader}: not read, or more than once: {wrong:?}");
    }
    for (name, _) in ACCOUNTS {
        assert_eq!(rows(&net, name, kind::OUTBOX.code()), 0, "{name}: the queue is empty");
        assert!(rows(&net, name, kind::SENT.code()) < 120, "{name}: what was sent is kept for two hours and a day");
        assert!(rows(&net, name, kind::SIGNED_PREKEY.code()) <= 3, "{name}");
        assert!(rows(&net, name, kind::PREKEY_BLOCK.code()) < 40, "{name}: used prekeys are gone");
        assert!(rows(&net, name, kind::SESSION.code()) < 400, "{name}: old states are dropped");
    }
    let count = |wanted| net.counters.iter().filter(|counter| **counter == wanted).count();
    let rotated = net.asked.iter().filter(|iq| iq.find("rotate").is_some()).count();
    assert!(rotated >= ACCOUNTS.len() || days < 5, "the signed prekeys were replaced");
    let asked = count(Counter::RetrySent);
    assert!(asked < written.count as usize / 4, "{asked} of {} messages were asked for again", written.count);
    println!(
        "{days} days, seed {seed}: {} messages, {} undecryptable, {asked} asked for again, {} sent again, {} unresponsive, {} \
         identities changed, {rotated} signed prekeys replaced",
        written.count,
        count(Counter::Undecryptable),
        count(Counter::Resent),
        count(Counter::Unresponsive),
        count(Counter::IdentityChanged),
    );
}
