//! Unmodified clients on one sandbox, in pairs and in groups: `cargo test --test matrix [-- KIND…]`, kinds being `baileys-7`,
//! `baileys-6`, `whatsapp-rust`, `wharf` and `phone`. Prints each step with its result; fails when one fails.
//!
//! A client is a process that speaks JSON, one object a line. Commands have a `do` and a `tag`: `text {to, text}`,
//! `react {chat, id, from_me, author, emoji}`, `edit {chat, id, text}`, `revoke {chat, id}`, `media {to, kind, data, text}`,
//! `read {chat, id, author}`, `create_group {subject, participants}`, `add` and `remove {group, participants}`,
//! `leave_for_a_while`, `come_back`, `logout`; each is answered by `done` or `error` with the tag. Events: `open`, `close`,
//! `logged_out`, `receipt {ids, type}`, `message {id, chat, author, from_me, kind, text, target, sha256}`.

// It waits for programs in real time.
#![allow(clippy::disallowed_methods)]

mod client;
mod network;
mod report;
mod steps;

use client::{Client, Kind};
use network::Network;
use report::Report;

fn main() {
    let asked: Vec<Kind> = std::env::args().skip(1).filter_map(|name| Kind::parse(&name)).collect();
    let kinds = if asked.is_empty() { Kind::CI.to_vec() } else { asked };
    let network = Network::start();
    let mut report = Report::default();
    let clients: Vec<Client> = kinds
        .iter()
        .enumerate()
        .filter_map(|(at, kind)| report.step("link by qr", kind.name(), || Client::start(&network, *kind, at, "qr")))
        .collect();
    for a in &clients {
        for b in clients.iter().filter(|b| b.kind != a.kind) {
            steps::pair(&mut report, &network, a, b);
        }
    }
    steps::group(&mut report, &network, &clients);
    steps::status(&mut report, &network, &clients);
    for (at, a) in clients.iter().enumerate() {
        let other = &clients[(at + 1) % clients.len()];
        steps::second_companion(&mut report, &network, a, other);
    }
    report.end();
}
