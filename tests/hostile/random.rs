//! Random tampering: a machine in the middle changes, drops, holds back, repeats and invents stanzas of a town that talks.
//!
//! Whatever it does, nobody reads or writes in the name of one who is known, no turn fails, every record can be read back, and what comes
//! after it is delivered. `WHARF_HOSTILE_SEEDS=1..500` runs other seeds (the gate: those of [`SEEDS`]).

use super::{ALICE, BOB, MALLORY};
use crate::net::Net;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;
use wharf::account::{AccountState, Input};
use wharf::wire::{Content, Jid, Node, Value};

const SEEDS: Range<u64> = 0..40;
const CAROL: &str = "15550003333";
const ROUNDS: usize = 30;

/// What the machine has seen go by, to be used again elsewhere.
struct Machine {
    rng: StdRng,
    /// Of a thousand stanzas so many are tampered with.
    share: u32,
    seen: VecDeque<Node>,
    held: Vec<Node>,
}

impl Machine {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let share = rng.random_range(20..400);
        Self { rng, share, seen: VecDeque::new(), held: Vec::new() }
    }

    /// What the account gets in place of this stanza.
    fn pass(&mut self, node: Node) -> Vec<Node> {
        self.seen.push_back(node.clone());
        if self.seen.len() > 200 {
            self.seen.pop_front();
        }
        let mut out = match self.rng.random_range(0..1000) < self.share {
            true => self.tamper(node),
            false => vec![node],
        };
        if !self.held.is_empty() && self.rng.random_range(0..4) == 0 {
            out.push(self.held.remove(0));
        }
        out
    }

    fn tamper(&mut self, node: Node) -> Vec<Node> {
        match self.rng.random_range(0..8) {
            0 => Vec::new(),
            1 => vec![node.clone(), node],
            2 => {
                self.held.push(node);
                Vec::new()
            }
            3 => vec![node, self.invented()],
            4 => vec![self.invented(), node],
            _ => {
                let mut node = node;
                for _ in 0..self.rng.random_range(1..4) {
                    self.change(&mut node, 0);
                }
                vec![node]
            }
        }
    }

    /// A stanza of the past, changed.
    fn invented(&mut self) -> Node {
        let past = self.rng.random_range(0..self.seen.len());
        let mut node = self.seen[past].clone();
        for _ in 0..self.rng.random_range(0..4) {
            self.change(&mut node, 0);
        }
        node
    }

    /// A node of the past, as a part of another.
    fn part(&mut self) -> Node {
        let past = self.rng.random_range(0..self.seen.len());
        let mut node = &self.seen[past];
        while let Content::Nodes(children) = &node.content
            && let Some(child) = children.choose(&mut self.rng)
            && self.rng.random_range(0..3) > 0
        {
            node = child;
        }
        node.clone()
    }

    fn value(&mut self) -> Value {
        let part = self.part();
        let taken = part.attrs.choose(&mut self.rng).map(|(_, value)| value.clone());
        match self.rng.random_range(0..6) {
            0 => Value::Text(
                ["", "0", "-1", "4294967296", "@", "a:b:c@lid", "retry", "set"][self.rng.random_range(0..8)].into(),
            ),
            1 => Value::Jid(Jid::pn(*[ALICE, BOB, MALLORY, CAROL].choose(&mut self.rng).unwrap())),
            2 => Value::Jid(Jid::pn(MALLORY).with_device(self.rng.random_range(0..100))),
            _ => taken.unwrap_or(Value::Text("x".into())),
        }
    }

    /// Changes the node or one below it.
    fn change(&mut self, node: &mut Node, depth: usize) {
        if let Content::Nodes(children) = &mut node.content
            && !children.is_empty()
            && depth < 8
            && self.rng.random_range(0..3) > 0
        {
            let at = self.rng.random_range(0..children.len());
            let mut child = children.swap_remove(at);
            self.change(&mut child, depth + 1);
            if let Content::Nodes(children) = &mut node.content {
                children.push(child);
            }
            return;
        }
        match self.rng.random_range(0..8) {
            0 if !node.attrs.is_empty() => drop(node.attrs.remove(self.rng.random_range(0..node.attrs.len()))),
            1 | 2 if !node.attrs.is_empty() => {
                let at = self.rng.random_range(0..node.attrs.len());
                node.attrs[at].1 = self.value();
            }
            3 => {
                let part = self.part();
                if let Some((name, value)) = part.attrs.choose(&mut self.rng) {
                    node.attrs.retain(|(other, _)| other != name);
                    node.attrs.push((name.clone(), value.clone()));
                }
            }
            4 => node.tag = self.part().tag,
            5 => node.content = self.part().content,
            6 => {
                let part = self.part();
                if let Content::Nodes(children) = &mut node.content {
                    children.push(part);
                }
            }
            _ => self.change_content(node),
        }
    }

    fn change_content(&mut self, node: &mut Node) {
        match &mut node.content {
            Content::Bytes(bytes) if !bytes.is_empty() => {
                let at = self.rng.random_range(0..bytes.len());
                match self.rng.random_range(0..3) {
                    0 => bytes.truncate(at),
                    1 => bytes.extend_from_within(at..),
                    _ => bytes[at] ^= 1 << self.rng.random_range(0..8),
                }
            }
            Content::Nodes(children) if !children.is_empty() => {
                let at = self.rng.random_range(0..children.len());
                match self.rng.random_range(0..2) {
                    0 => drop(children.remove(at)),
                    _ => children.push(children[at].clone()),
                }
            }
            _ => node.content = Content::Bytes(vec![self.rng.random(); 9]),
        }
    }
}

/// Everything that was written, by its text: the writer's number.
type Written = BTreeMap<String, &'static str>;

struct Town {
    net: Net,
    group: String,
    written: Written,
    rng: StdRng,
}

impl Town {
    fn new(seed: u64) -> Self {
        let mut net = super::town();
        net.world.create_phone(CAROL, Some("Carol")).unwrap();
        net.world.write_text(CAROL, ALICE, "hello too").unwrap();
        net.settle();
        let group = net.world.create_group("crew", BOB, &[ALICE.into(), CAROL.into(), MALLORY.into()]).unwrap().id;
        net.settle();
        let written = [("hello".to_owned(), BOB), ("hello too".to_owned(), CAROL)].into();
        Self { net, group, written, rng: StdRng::seed_from_u64(seed) }
    }

    /// One of them writes to another or to the group.
    fn talk(&mut self, round: usize) {
        let text = format!("text {round}");
        let group = self.group.clone();
        let to_group = self.rng.random_range(0..3) == 0;
        let from = *[ALICE, BOB, CAROL, MALLORY].choose(&mut self.rng).unwrap();
        let to = if from == ALICE { *[BOB, CAROL].choose(&mut self.rng).unwrap() } else { ALICE };
        let to = if to_group { &group } else { to };
        self.written.insert(text.clone(), from);
        match from {
            ALICE => self.send("alice", to, &text),
            MALLORY => self.send("mallory", to, &text),
            phone => drop(self.net.world.write_text(phone, to, &text)),
        }
    }

    fn send(&mut self, name: &str, to: &str, text: &str) {
        if self.net.state(name) == AccountState::Online {
            self.net.send(name, to, text);
        }
    }

    /// Who has received what is as it was written, by whom it was written, once.
    fn check_received(&self, seed: u64) {
        for name in ["alice", "mallory"] {
            let mut once = Vec::new();
            for data in self.net.events(name, "message.received") {
                let Some(text) = data["text"]["body"].as_str().map(str::to_owned) else { continue };
                let from = data["from"].as_str().unwrap_or_default().to_owned();
                let writer = self.written.get(&text).copied();
                assert!(writer.is_some(), "seed {seed}: {name} received what nobody wrote: {data}");
                let number = writer.unwrap_or_default();
                assert!(
                    from.starts_with(number) || self.may_be_named(name, &from),
                    "seed {seed}: {name} received what {number} wrote as of another: {data}"
                );
                once.push(([&data["id"], &data["chat"], &data["from"]].map(ToString::to_string), text));
            }
            let count = once.len();
            once.sort();
            let all = once.clone();
            // The service chooses ids and chats: nothing seals them.
            once.dedup();
            assert_eq!(once.len(), count, "seed {seed}: {name} received a message twice: {all:?}");
        }
    }

    /// Whether somebody else may be named as this sender: one whom the account had never heard of, or whose identity has changed, as it
    /// was told.
    fn may_be_named(&self, name: &str, from: &str) -> bool {
        let own = if name == "alice" { ALICE } else { MALLORY };
        let known: &[&str] = if name == "alice" { &[BOB, CAROL] } else { &[] };
        let changed = self.net.events(name, "identity.changed");
        let is_told = changed.iter().any(|data| data["contact"] == *from);
        !from.starts_with(own) && (is_told || !known.iter().any(|number| from.starts_with(number)))
    }

    /// What was written to Bob or Carol alone, Mallory has not read.
    fn check_secret(&self, seed: u64, secrets: &[String]) {
        let read = self.net.events("mallory", "message.received");
        let texts: Vec<_> = read.iter().filter_map(|data| data["text"]["body"].as_str()).collect();
        assert!(!secrets.iter().any(|secret| texts.contains(&secret.as_str())), "seed {seed}: {texts:?}");
    }
}

/// States that the service alone can bring about, and that need the operator.
fn is_ended(state: AccountState) -> bool {
    !matches!(
        state,
        AccountState::Online | AccountState::Connecting | AccountState::Reconnecting | AccountState::Unresponsive
    )
}

fn run(seed: u64) -> bool {
    let mut town = Town::new(seed);
    let machine = Rc::new(RefCell::new(Machine::new(seed)));
    let middle = Rc::clone(&machine);
    town.net.middle = Some(Box::new(move |_, node| middle.borrow_mut().pass(node)));
    let mut secrets = Vec::new();
    for round in 0..ROUNDS {
        town.talk(round);
        if town.rng.random_range(0..3) == 0 {
            let secret = format!("secret {round}");
            town.written.insert(secret.clone(), ALICE);
            let to = *[BOB, CAROL].choose(&mut town.rng).unwrap();
            town.send("alice", to, &secret);
            secrets.push(secret);
        }
        town.net.pass(Duration::from_secs(20));
        if town.rng.random_range(0..4) == 0 {
            town.net.input("alice", Input::Rest);
        }
    }
    town.net.middle = None;
    town.check_received(seed);
    town.check_secret(seed, &secrets);
    // Every record can be read back.
    for name in ["alice", "mallory"] {
        town.net.restart(name);
    }
    town.net.pass(Duration::from_secs(3600));
    if is_ended(town.net.state("alice")) {
        return false;
    }
    town.net.until("alice is online again", |net| net.state("alice") == AccountState::Online);
    town.written.extend([("after".to_owned(), BOB), ("after all".to_owned(), ALICE)]);
    town.net.world.write_text(BOB, ALICE, "after").unwrap();
    town.net.send("alice", CAROL, "after all");
    town.net.pass(Duration::from_secs(600));
    town.check_received(seed);
    assert!(super::texts(&town.net).contains(&"after".to_owned()), "seed {seed}: what Bob writes does not arrive");
    let read = town.net.world.phone_messages(CAROL).unwrap();
    assert!(
        read.iter().any(|message| message.text.as_deref() == Some("after all")),
        "seed {seed}: Carol does not read"
    );
    true
}

#[test]
fn random_tampering_forges_nothing_fails_no_turn_and_stops_nothing_for_good() {
    let seeds = match std::env::var("WHARF_HOSTILE_SEEDS") {
        Ok(text) => {
            let (from, to) = text.split_once("..").expect("WHARF_HOSTILE_SEEDS is FROM..TO");
            from.parse().unwrap()..to.parse().unwrap()
        }
        Err(_) => SEEDS,
    };
    let count = seeds.clone().count();
    let lived = seeds.filter(|seed| run(*seed)).count();
    println!("{lived} of {count} accounts were online at the end");
    assert!(lived * 4 >= count * 3, "{lived} of {count} accounts were online at the end");
}
