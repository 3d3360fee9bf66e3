//! Incoming calls: one event an offer, rejected on a setting.

use crate::net::Net;
use serde_json::json;
use wharf::account::AccountState;
use wharf::wire::{Jid, Node};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";

fn online(reject_calls: bool) -> Net {
    let mut net = Net::new().trusting(|settings| settings.reject_calls = reject_calls);
    net.linked("alice", ALICE);
    net
}

fn call(step: Node) -> Node {
    let bob = Jid::parse("77@lid").unwrap();
    let step = step.attr("call-id", "CALL1").attr("call-creator", &bob).attr("caller_pn", Jid::pn(BOB));
    Node::new("call").attr("from", bob).attr("id", "1").attr("t", "1760000000").child(step)
}

fn offer() -> Node {
    call(Node::new("offer").child(Node::new("audio").attr("enc", "opus")).child(Node::new("video")))
}

fn written(net: &Net, part: &str) -> Vec<String> {
    let sent = net.world.stanzas().filter(|log| log.direction == "received" && log.stanza.contains(part));
    sent.map(|log| log.stanza.clone()).collect()
}

#[test]
fn offered_call_is_one_event_and_each_step_is_acknowledged() {
    let mut net = online(false);
    net.stanza("alice", offer());
    net.stanza("alice", offer());
    net.stanza("alice", call(Node::new("terminate").attr("reason", "timeout")));
    let events = net.events("alice", "call.offered");
    let expected = json!({
        "id": "CALL1",
        "from": format!("{BOB}@s.whatsapp.net"),
        "from_lid": "77@lid",
        "video": true,
        "offline": false,
        "timestamp": "2025-10-09T08:53:20.000Z",
    });
    assert_eq!(events, [expected]);
    assert_eq!(written(&net, "class=\"call\"").len(), 3);
    assert!(written(&net, "<reject").is_empty());
    assert_eq!(net.state("alice"), AccountState::Online);
}

#[test]
fn live_call_is_rejected_where_the_settings_say_so_and_a_missed_one_is_not() {
    let mut net = online(true);
    net.stanza("alice", call(Node::new("offer_notice").attr("media", "audio")).attr("offline", "1"));
    assert!(written(&net, "<reject").is_empty());
    assert_eq!(net.events("alice", "call.offered")[0]["offline"], true);
    let mut net = online(true);
    net.stanza("alice", offer());
    let rejected = written(&net, "<reject");
    assert_eq!(rejected.len(), 1);
    assert!(rejected[0].contains("call-id=\"CALL1\"") && rejected[0].contains("to=\"77@lid\""), "{rejected:?}");
}
