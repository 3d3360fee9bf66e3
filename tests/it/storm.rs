//! Many messages, direct and to a group, amid seeded faults, cut connections and restarts: each is read once by each recipient.
//! `WHARF_MESSAGES=10000 WHARF_SEED=2 cargo test --release storm` runs a bigger storm.

use crate::net::Net;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;
use wharf::sandbox::world::{FaultKind, NewFault};

const ACCOUNTS: [(&str, &str); 4] =
    [("alice", "15550001111"), ("bob", "15550002222"), ("carol", "15550003333"), ("second", "15550002222")];
const PHONES: [&str; 2] = ["15550004444", "15550005555"];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn some_fault(rng: &mut StdRng) -> NewFault {
    let kinds = [
        FaultKind::Drop,
        FaultKind::Delay { ms: 3000 },
        FaultKind::Duplicate,
        FaultKind::Reorder,
        FaultKind::Disconnect,
        FaultKind::StaleDevices,
        FaultKind::EmptyPrekeys,
        FaultKind::Corrupt,
        FaultKind::StreamError { code: 503 },
    ];
    let account = rng.random_bool(0.5).then(|| ACCOUNTS[rng.random_range(0..ACCOUNTS.len())].1.to_owned());
    let kind = kinds[rng.random_range(0..kinds.len())];
    NewFault { kind, account, count: Some(rng.random_range(1..3)), until: None, seed: rng.random() }
}

/// The recipients of each text, and how often each account has read it.
#[derive(Default)]
struct Ledger {
    readers: BTreeMap<String, Vec<&'static str>>,
    read: BTreeMap<&'static str, BTreeMap<String, u32>>,
    failed: Vec<serde_json::Value>,
}

impl Ledger {
    /// Counts the events of an account since it was last loaded.
    fn take_down(&mut self, net: &Net, name: &'static str) {
        let read = self.read.entry(name).or_default();
        for data in net.events(name, "message.received") {
            *read.entry(data["text"]["body"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let statuses = net.events(name, "message.status").into_iter();
        self.failed.extend(statuses.filter(|data| data["status"] == "failed"));
    }
}

#[test]
fn every_message_is_read_once_by_each_recipient_amid_faults() {
    let (messages, seed) = (setting("WHARF_MESSAGES", 400), setting("WHARF_SEED", 1));
    let mut rng = StdRng::seed_from_u64(seed);
    let mut net = Net::new();
    for (name, number) in ACCOUNTS {
        net.linked(name, number);
    }
    for number in PHONES {
        net.world.create_phone(number, None).unwrap();
    }
    let numbers: Vec<&str> = ACCOUNTS[..3].iter().map(|(_, number)| *number).chain(PHONES).collect();
    let members: Vec<String> = numbers.iter().map(|number| (*number).to_owned()).collect();
    let group = net.world.create_group("storm", PHONES[0], &members).unwrap().id;
    net.settle();

    let mut ledger = Ledger::default();
    for count in 0..messages {
        if rng.random_bool(0.05) {
            net.world.add_fault(some_fault(&mut rng));
        }
        if rng.random_bool(0.01) {
            let name = ACCOUNTS[rng.random_range(0..ACCOUNTS.len())].0;
            ledger.take_down(&net, name);
            net.restart(name);
        }
        let text = format!("{count}");
        let author = rng.random_range(0..ACCOUNTS.len() + PHONES.len());
        let number = ACCOUNTS.get(author).map_or_else(|| PHONES[author - ACCOUNTS.len()], |(_, number)| number);
        let to = if rng.random_bool(0.5) {
            group.clone()
        } else {
            let others: Vec<&&str> = numbers.iter().filter(|other| **other != number).collect();
            others[rng.random_range(0..others.len())].to_string()
        };
        match ACCOUNTS.get(author) {
            Some((name, _)) => drop(net.send(name, &to, &text)),
            None => drop(net.world.write_text(number, &to, &text).unwrap()),
        }
        let readers = ACCOUNTS.iter().filter(|(_, at)| *at != number && (to == group || to == *at));
        ledger.readers.insert(text, readers.map(|(name, _)| *name).collect());
        net.pass(Duration::from_millis(rng.random_range(0..500)));
    }
    net.world.clear_faults();
    // Dropped stanzas are delivered with the next login.
    for (name, _) in ACCOUNTS {
        net.cut(name);
    }
    net.pass(Duration::from_secs(1800));

    for (name, _) in ACCOUNTS {
        ledger.take_down(&net, name);
        let read = &ledger.read[name];
        let expected = ledger.readers.iter().filter(|(_, readers)| readers.contains(&name));
        let lost: Vec<_> =
            expected.clone().filter(|(text, _)| !read.contains_key(*text)).map(|(text, _)| text).collect();
        assert!(lost.is_empty(), "{name} waits for {lost:?}");
        let twice: Vec<_> = read.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{name} has read twice: {twice:?}");
        assert_eq!(read.len(), expected.count(), "{name} has read what was not for it");
    }
    assert_eq!(ledger.failed, Vec::<serde_json::Value>::new());
    for number in numbers {
        let listed = net.world.phone_messages(number).unwrap();
        let waiting: Vec<_> = listed.iter().filter(|message| message.kind == "undecryptable").collect();
        assert!(waiting.is_empty(), "{number} waits: {waiting:?}");
    }
}
