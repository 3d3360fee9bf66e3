//! A contact's LID that the service exchanges.

use super::{ALICE, BOB, Noted, forge, set, stanzas_of_alice, texts, town};
use std::rc::Rc;
use wharf::wire::{Jid, Node};

/// Mallory's message with Bob's number beside Mallory's LID.
fn exchange(node: Node) -> Node {
    set(node, "sender_pn", Some(Jid::pn(BOB)))
}

#[test]
fn another_lid_of_a_known_contact_is_queried_and_not_followed() {
    let mut net = town();
    net.send("alice", BOB, "before");
    net.settle();
    forge(&mut net, exchange);
    net.send("mallory", ALICE, "I am Bob");
    net.settle();
    net.middle = None;
    let asked = net.asked.iter().filter(|iq| iq.is("xmlns", "usync")).count();
    assert!(asked > 0, "the service is asked for Bob's LID");
    net.send("alice", BOB, "after");
    net.settle();
    let read: Vec<_> = net.world.phone_messages(BOB).unwrap().iter().filter_map(|it| it.text.clone()).collect();
    assert!(read.contains(&"after".to_owned()), "{read:?}");
    let last = stanzas_of_alice(&net).into_iter().rfind(|stanza| stanza.starts_with("<message")).unwrap();
    let mallory = net.events("alice", "message.received")[1]["from"].as_str().unwrap().to_owned();
    assert!(mallory.ends_with("@lid") && !last.contains(mallory.split('@').next().unwrap()), "{last}");
}

#[test]
fn a_message_under_another_lid_is_not_shown_as_the_contacts() {
    let mut net = town();
    forge(&mut net, exchange);
    net.send("mallory", ALICE, "I am Bob");
    net.settle();
    assert_eq!(texts(&net), ["hello", "I am Bob"]);
    let shown = &net.events("alice", "message.received")[1];
    assert!(!shown["from"].as_str().unwrap().starts_with(BOB), "{shown}");
}

/// The service answers our query with the other LID too: that is a change, and is told.
#[test]
fn a_lid_that_the_service_confirms_is_a_change_of_identity() {
    let mut net = town();
    let mallory: Noted<Option<Jid>> = Rc::default();
    let noted = mallory.clone();
    net.middle = Some(Box::new(move |name, node| {
        if name != "alice" {
            return vec![node];
        }
        if node.tag == "message" {
            *noted.borrow_mut() = node.jid("from").map(|from| from.bare());
            return vec![exchange(node)];
        }
        let lid = noted.borrow().clone();
        vec![match lid {
            Some(lid) if node.tag == "iq" => with_lid(node, &lid),
            _ => node,
        }]
    }));
    assert!(net.events("alice", "identity.changed").is_empty());
    net.send("mallory", ALICE, "I am Bob");
    net.settle();
    let changed = net.events("alice", "identity.changed");
    assert_eq!(changed[0]["contact"], format!("{BOB}@s.whatsapp.net"));
}

/// A usync answer that names this LID for everybody.
fn with_lid(mut node: Node, lid: &Jid) -> Node {
    if node.tag == "lid" {
        return Node::new("lid").attr("val", lid);
    }
    if let wharf::wire::Content::Nodes(children) = node.content {
        let children = children.into_iter().map(|child| with_lid(child, lid)).collect();
        node.content = wharf::wire::Content::Nodes(children);
    }
    node
}

#[test]
fn a_message_that_names_a_group_as_its_sender_is_not_shown() {
    const CAROL: &str = "15550003333";
    let mut net = town();
    net.world.create_phone(CAROL, Some("Carol")).unwrap();
    let group = net.world.create_group("crew", CAROL, &[ALICE.into()]).unwrap().id;
    net.settle();
    let named = Jid::parse(&group).unwrap();
    forge(&mut net, move |node| set(node, "participant", Some(named.clone())));
    net.world.write_text(CAROL, &group, "in nobody's name").unwrap();
    net.settle();
    assert_eq!(texts(&net), ["hello"]);
}

/// The service answers our queries with Carol's LID for everybody, us too.
#[test]
fn our_own_number_is_never_another_persons() {
    const CAROL: &str = "15550003333";
    let mut net = town();
    net.world.create_phone(CAROL, Some("Carol")).unwrap();
    let carol: Noted<Option<Jid>> = Rc::default();
    let noted = carol.clone();
    net.middle = Some(Box::new(move |name, node| {
        if name != "alice" {
            return vec![node];
        }
        if node.tag == "message" {
            *noted.borrow_mut() = node.jid("from").map(|from| from.bare());
        }
        let lid = noted.borrow().clone();
        vec![match lid {
            Some(lid) if node.tag == "iq" => with_lid(node, &lid),
            Some(_) if node.tag == "message" => set(node, "sender_pn", Some(Jid::pn(ALICE))),
            _ => node,
        }]
    }));
    for text in ["one", "two", "three"] {
        net.world.write_text(CAROL, ALICE, text).unwrap();
        net.settle();
        net.send("alice", CAROL, "hello Carol");
        net.settle();
    }
    let received = net.events("alice", "message.received");
    assert_eq!(texts(&net), ["hello", "one", "two", "three"]);
    assert!(received.iter().all(|data| !data["from"].as_str().unwrap().starts_with(ALICE)), "{received:?}");
}
