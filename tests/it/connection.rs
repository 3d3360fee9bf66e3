//! The life cycle of a connection: refused logins, stream errors, bans, back-off and reconnects.

use crate::net::Net;
use std::sync::Arc;
use std::time::Duration;
use wharf::account::{AccountState, ConnectRate};
use wharf::wire::{Jid, Node};

const ALICE: &str = "15550001111";

fn online() -> Net {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net
}

fn reason(net: &Net) -> String {
    net.accounts["alice"].local.router.view().reason.clone().unwrap_or_default()
}

fn failure(reason: u64) -> Node {
    Node::new("failure").attr("reason", reason)
}

#[test]
fn every_login_failure_has_a_state_and_a_reason() {
    use AccountState::{Banned, Locked, LoggedOut, Outdated, Reconnecting, Stopped};
    let table = [
        (400, Stopped, "malformed"),
        (401, LoggedOut, "no longer knows"),
        (402, Banned, "temporarily banned"),
        (403, Locked, "locked"),
        (405, Outdated, "version is too old"),
        (406, LoggedOut, "no longer knows"),
        (409, Outdated, "(409)"),
        (413, Stopped, "token"),
        (414, Stopped, "token"),
        (415, Stopped, "does not know the account"),
        (418, Stopped, "kind of client"),
        (499, Stopped, "(499)"),
        (500, Reconnecting, "for now (500)"),
        (501, Stopped, "(501)"),
        (503, Reconnecting, "for now (503)"),
    ];
    for (code, state, why) in table {
        let mut net = online();
        net.stanza("alice", failure(code));
        assert_eq!(net.state("alice"), state, "{code}");
        assert!(reason(&net).contains(why), "{code}: {}", reason(&net));
    }
}

#[test]
fn every_stream_error_has_a_state() {
    use AccountState::{LoggedOut, Online, Reconnecting, Replaced};
    let coded = |code: u64| Node::new("stream:error").attr("code", code);
    let conflict = |kind: &'static str| Node::new("stream:error").child(Node::new("conflict").attr("type", kind));
    let table = [
        (conflict("replaced"), Replaced),
        (conflict("device_removed"), LoggedOut),
        (coded(401), LoggedOut),
        (coded(516), LoggedOut),
        (coded(409), Replaced),
        (coded(429), Reconnecting),
        (coded(503), Reconnecting),
        (Node::new("stream:error").child(Node::new("xml-not-well-formed")), Reconnecting),
        (Node::new("stream:error").child(Node::new("ack").attr("id", "1")), Online),
    ];
    for (ending, state) in table {
        let mut net = online();
        let named = format!("{ending:?}");
        net.stanza("alice", ending);
        assert_eq!(net.state("alice"), state, "{named}");
    }
    let mut net = online();
    net.stanza("alice", coded(515));
    assert_eq!(net.state("alice"), AccountState::Connecting, "at once");
}

#[test]
fn an_account_reconnects_after_a_temporary_ban_with_an_end() {
    let mut net = online();
    net.stanza("alice", failure(402).attr("code", "104").attr("expire", "3600"));
    assert_eq!(reason(&net), "temporarily banned (104): the same message to too many people");
    assert!(net.accounts["alice"].local.router.view().next_attempt_at.is_some());
    net.pass(Duration::from_secs(3590));
    assert_eq!(net.state("alice"), AccountState::Banned);
    net.pass(Duration::from_secs(20));
    assert_eq!(net.state("alice"), AccountState::Online);
}

#[test]
fn stop_cancels_the_back_off() {
    let mut net = online();
    net.stanza("alice", failure(503));
    net.stop("alice");
    net.pass(Duration::from_secs(60));
    assert_eq!(net.state("alice"), AccountState::Stopped);
    assert!(net.world.phone(ALICE).unwrap().online.is_empty());
}

#[test]
fn only_a_stable_connection_resets_the_back_off_and_a_penalty_survives_it() {
    let mut net = online();
    let wait = |net: &mut Net, ending: Node| {
        net.stanza("alice", ending);
        let until = net.accounts["alice"].local.router.view().next_attempt_at.unwrap();
        let wait = until.after(net.now).as_secs_f64().round();
        net.until("it is back", |net| net.state("alice") == AccountState::Online);
        wait
    };
    let lost = || Node::new("stream:error").attr("code", "503");
    let waits: Vec<f64> = (0..5).map(|_| wait(&mut net, lost())).collect();
    assert_eq!(waits, [1.0, 1.0, 2.0, 3.0, 5.0], "short connections do not count");
    net.pass(Duration::from_secs(31));
    assert_eq!(wait(&mut net, lost()), 1.0);
    net.pass(Duration::from_secs(31));
    let slower = Node::new("stream:error").attr("code", "429");
    assert!((7.0..=9.0).contains(&wait(&mut net, slower)), "five steps more, although the connection had lasted");
}

#[test]
fn a_change_of_the_system_clock_moves_no_deadline() {
    let mut net = online();
    let connected = |net: &Net| net.events("alice", "account.state").len();
    let before = connected(&net);
    for ahead in [Duration::from_secs(30 * 24 * 3600), Duration::ZERO] {
        net.clock_set_ahead = ahead;
        net.pass(Duration::from_secs(300));
    }
    assert_eq!((net.state("alice"), connected(&net)), (AccountState::Online, before));
}

#[test]
fn a_dead_socket_is_closed_within_a_minute() {
    let mut net = online();
    net.cut("alice");
    net.pass(Duration::from_secs(51));
    let states = net.events("alice", "account.state");
    let last: Vec<_> = states.iter().map(|data| data["reason"].as_str().unwrap_or_default()).collect();
    assert!(last.contains(&"the connection is dead: no traffic"), "{last:?}");
}

#[test]
fn accounts_that_disconnected_together_reconnect_at_the_connect_rate() {
    const NAMES: [&str; 12] = ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "b0", "b1"];
    let mut net = Net::new().trusting(|settings| settings.connect_rate = Arc::new(ConnectRate::new(2)));
    for (at, name) in NAMES.into_iter().enumerate() {
        net.linked(name, &format!("1555000{at:04}"));
    }
    for name in NAMES {
        net.stop(name);
    }
    net.settle();
    for name in NAMES {
        net.start(name);
    }
    let mut online = Vec::new();
    for _ in 0..6 {
        net.pass(Duration::from_secs(1));
        online.push(NAMES.iter().filter(|name| net.state(name) == AccountState::Online).count());
    }
    let added = online.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(added <= 2 && online[0] <= 3, "{online:?}");
    net.pass(Duration::from_secs(2));
    assert!(NAMES.iter().all(|name| net.state(name) == AccountState::Online));
}

#[test]
fn every_notification_is_acknowledged_even_unknown_and_malformed_ones() {
    let mut net = online();
    let kinds = [
        "devices",
        "encrypt",
        "w:gp2",
        "account_sync",
        "server_sync",
        "privacy_token",
        "picture",
        "status",
        "contacts",
        "business",
        "psa",
        "mediaretry",
        "link_code_companion_reg",
        "companion_reg_refresh",
        "passkey_prologue_request",
        "crsc_continuation",
        "disappearing_mode",
        "newsletter",
        "mex",
        "of-tomorrow",
    ];
    for (at, kind) in kinds.iter().enumerate() {
        let id = format!("N{at}");
        let notification = Node::new("notification").attr("type", *kind).attr("id", id.clone());
        net.stanza("alice", notification.attr("from", Jid::service()).child(Node::new(*kind)));
        let acknowledged = net.world.stanzas().any(|log| {
            log.direction == "received"
                && log.stanza.starts_with("<ack")
                && log.stanza.contains(&format!("id=\"{id}\""))
        });
        assert!(acknowledged, "{kind}");
    }
    assert_eq!(net.state("alice"), AccountState::Online);
}

#[test]
fn an_account_that_logs_in_after_a_log_out_in_error_can_send_again() {
    let mut net = online();
    net.stanza("alice", failure(401));
    assert_eq!(net.state("alice"), AccountState::LoggedOut);
    net.stop("alice");
    net.start("alice");
    net.until("it is back", |net| net.state("alice") == AccountState::Online);
    net.world.create_phone("15550002222", None).unwrap();
    net.send("alice", "15550002222", "hello");
}
