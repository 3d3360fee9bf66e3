//! Privacy tokens: without one, contacts that require them refuse a first message (463).

use crate::net::Net;
use std::time::Duration;
use wharf::account::commands::MessageStatus;

const ALICE: &str = "15550001111";
const CAROL: &str = "15550003333";
const WEEK: Duration = Duration::from_secs(604_800);

fn with_carol(refusing: bool) -> Net {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.world.create_phone(CAROL, Some("Carol")).unwrap();
    net.world.require_tokens(CAROL, refusing).unwrap();
    net
}

fn status(net: &mut Net, text: &str) -> (MessageStatus, Option<String>) {
    let id = net.send("alice", CAROL, text);
    net.settle();
    let record = net.message("alice", &id);
    (record.status, record.failure.map(|(code, _)| code))
}

/// The number of tokens that Alice has given Carol.
fn given(net: &Net) -> usize {
    net.asked.iter().filter(|iq| iq.is("xmlns", "privacy") && iq.find("tokens").is_some()).count()
}

#[test]
fn contact_that_was_written_to_can_reply() {
    let mut net = with_carol(true);
    assert_eq!(status(&mut net, "hi"), (MessageStatus::Failed, Some("service_463".into())));
    net.world.write_text(CAROL, ALICE, "who are you?").unwrap();
    net.settle();
    assert_eq!(status(&mut net, "Alice").1, None);
    net.restart("alice");
    net.settle();
    assert_eq!(status(&mut net, "the one from the harbour").1, None);
    assert_eq!(net.world.phone_messages(CAROL).unwrap().len(), 2);
}

#[test]
fn token_is_given_once_a_week_and_again_to_a_reinstalled_contact() {
    let mut net = with_carol(false);
    for text in ["1", "2", "3"] {
        status(&mut net, text);
    }
    assert_eq!(given(&net), 1);
    net.pass(WEEK);
    status(&mut net, "4");
    assert_eq!(given(&net), 2);
    net.world.reinstall(CAROL).unwrap();
    net.settle();
    assert_eq!(given(&net), 3);
    let times: Vec<_> = net.asked.iter().filter_map(|iq| iq.find("tokens")?.find("token")?.number("t")).collect();
    assert_eq!(times[1], times[2], "with its old time");
}

#[test]
fn token_is_made_with_the_salt_of_the_history_if_none_was_received() {
    let mut net = with_carol(false);
    status(&mut net, "cold");
    let sent = net.world.stanzas().filter(|log| log.direction == "received" && log.stanza.starts_with("<message"));
    let last = sent.last().unwrap().stanza.clone();
    assert!(
        last.contains("<cstoken>[32 bytes]</cstoken>") && last.contains("<reporting_token v=\"2\">[16 bytes]"),
        "{last}"
    );
}
