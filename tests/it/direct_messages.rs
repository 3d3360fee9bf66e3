//! Linking, logging in, and direct messages, in memory and in virtual time.

use crate::net::Net;
use std::time::Duration;
use wharf::account::commands::{MessageRecord, MessageStatus, SendError, SendRequest};
use wharf::account::{AccountState, Content, Repeated, Reply, Text};
use wharf::base::ids::{MessageId, RequestFingerprint};
use wharf::signal::{IdentityKeyPair, KeyPair, PublicKey, SignedPreKeyId};
use wharf::wire::prekeys::skey_node;
use wharf::wire::{Jid, Node};

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";

fn two_accounts() -> Net {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.linked("bob", BOB);
    net
}

fn texts(net: &Net, number: &str) -> Vec<(String, u32)> {
    let messages = net.world.phone_messages(number).unwrap();
    messages.iter().map(|message| (message.text.clone().unwrap(), message.copies)).collect()
}

fn received(net: &Net, name: &str) -> Vec<String> {
    let events = net.events(name, "message.received");
    events.iter().map(|data| data["text"]["body"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_account_is_linked_by_the_text_of_its_code_and_comes_online() {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    let view = net.accounts["alice"].local.router.view();
    assert_eq!(view.jid, Some(Jid::pn(ALICE).with_device(1)));
    assert_eq!(
        view.lid.as_ref().map(|lid| lid.to_string()),
        Some(net.world.phone(ALICE).unwrap().lid.replace('@', ":1@"))
    );
    assert_eq!(net.world.phone(ALICE).unwrap().online, [1]);
    let states: Vec<_> =
        net.events("alice", "account.state").iter().map(|data| data["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states, ["linking", "connecting", "online"]);
}

#[test]
fn qr_codes_are_replaced_in_time_and_expire() {
    let mut net = Net::new();
    net.account("alice");
    net.start("alice");
    net.until("a code is shown", |net| net.code("alice").is_some());
    let first = net.code("alice").unwrap();
    net.pass(Duration::from_secs(59));
    assert_eq!(net.code("alice").as_ref(), Some(&first));
    net.pass(Duration::from_secs(2));
    assert_ne!(net.code("alice").as_ref(), Some(&first));
    net.pass(Duration::from_secs(100));
    let view = net.accounts["alice"].local.router.view();
    assert_eq!((view.state, view.reason.as_deref()), (AccountState::Stopped, Some("link_expired")));
    assert_eq!(net.events("alice", "account.qr").len(), 6);
}

#[test]
fn a_text_reaches_every_device_of_both_sides_and_its_status_rises_to_read() {
    let mut net = two_accounts();
    let id = net.send("alice", BOB, "hello bob");
    net.settle();
    assert_eq!(received(&net, "bob"), ["hello bob"]);
    assert_eq!(texts(&net, BOB), [("hello bob".to_owned(), 1)]);
    assert_eq!(texts(&net, ALICE), [("hello bob".to_owned(), 1)], "our own phone gets its copy");
    let copy = &net.world.phone_messages(ALICE).unwrap()[0];
    assert_eq!((copy.chat.as_str(), copy.from.as_str()), (BOB, ALICE));

    let record = net.message("alice", &id);
    assert_eq!(record.status, MessageStatus::Read);
    let statuses: Vec<_> = net.events("alice", "message.status").iter().map(|data| data["status"].clone()).collect();
    assert_eq!(statuses, ["sent", "delivered", "read"]);
}

#[test]
fn a_received_event_names_the_sender_by_number_and_by_lid() {
    let mut net = two_accounts();
    let id = net.world.write_text(ALICE, BOB, "from a person").unwrap();
    net.settle();
    let data = &net.events("bob", "message.received")[0];
    assert_eq!(data["id"], id.as_str());
    assert_eq!(data["chat"], format!("{ALICE}@s.whatsapp.net"));
    assert_eq!(data["from"], format!("{ALICE}@s.whatsapp.net"));
    assert_eq!(data["from_lid"], net.world.phone(ALICE).unwrap().lid);
    assert_eq!(data["from_name"], "alice");
    assert_eq!(data["text"]["body"], "from a person");
}

#[test]
fn message_from_our_own_phone_is_reported_as_sent() {
    let mut net = two_accounts();
    net.world.write_text(ALICE, BOB, "by phone").unwrap();
    net.settle();
    let sent = net.events("alice", "message.sent");
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["chat"], format!("{BOB}@s.whatsapp.net"));
    assert_eq!(net.events("alice", "message.received").len(), 0);
}

#[test]
fn a_conversation_goes_back_and_forth() {
    let mut net = two_accounts();
    for round in 0..5 {
        net.send("alice", BOB, &format!("a{round}"));
        net.settle();
        net.send("bob", ALICE, &format!("b{round}"));
        net.settle();
    }
    assert_eq!(received(&net, "bob"), ["a0", "a1", "a2", "a3", "a4"]);
    assert_eq!(received(&net, "alice"), ["b0", "b1", "b2", "b3", "b4"]);
    assert_eq!(net.events("alice", "message.undecryptable").len(), 0);
}

#[test]
fn messages_sent_while_offline_go_out_in_order_after_the_reconnect() {
    let mut net = two_accounts();
    net.stop("alice");
    let ids = ["1", "2", "3"].map(|body| net.send("alice", BOB, body));
    net.settle();
    assert_eq!(net.message("alice", &ids[0]).status, MessageStatus::Queued);
    net.start("alice");
    net.settle();
    assert_eq!(received(&net, "bob"), ["1", "2", "3"]);
}

#[test]
fn messages_received_while_offline_are_delivered_with_the_next_login() {
    let mut net = two_accounts();
    net.stop("bob");
    net.settle();
    net.send("alice", BOB, "while you were out");
    net.settle();
    assert_eq!(received(&net, "bob"), Vec::<String>::new());
    net.start("bob");
    net.settle();
    assert_eq!(received(&net, "bob"), ["while you were out"]);
}

#[test]
fn message_accepted_during_a_login_is_sent_after_the_queued_ones() {
    let mut net = two_accounts();
    net.world.create_phone("15550003333", None).unwrap();
    net.stop("bob");
    net.settle();
    net.world.write_text("15550003333", BOB, "1").unwrap();
    net.start("bob");
    net.pass(Duration::from_millis(10));
    assert_eq!(net.world.phone(BOB).unwrap().online, [1], "the service knows of the login");
    net.world.write_text("15550003333", BOB, "2").unwrap();
    net.settle();
    assert_eq!(received(&net, "bob"), ["1", "2"]);
}

#[test]
fn a_crash_between_commit_and_wire_sends_the_same_bytes_and_the_phone_sees_the_message_once() {
    let mut net = two_accounts();
    net.send("alice", BOB, "warm up");
    net.settle();
    net.cut("alice");
    let id = net.send("alice", BOB, "only once");
    net.restart("alice");
    net.settle();
    assert!(texts(&net, BOB).contains(&("only once".to_owned(), 1)));
    assert_eq!(received(&net, "bob"), ["warm up", "only once"]);
    assert_eq!(net.message("alice", &id).status, MessageStatus::Read);
}

#[test]
fn duplicate_delivery_makes_no_second_event_and_gets_a_receipt() {
    let mut net = two_accounts();
    net.cut("bob");
    net.send("alice", BOB, "hello");
    net.settle();
    net.restart("bob");
    net.settle();
    net.restart("bob");
    net.settle();
    assert_eq!(received(&net, "bob"), ["hello"].repeat(net.events("bob", "message.received").len()));
    assert!(net.events("bob", "message.received").len() <= 1);
    assert_eq!(net.events("bob", "message.undecryptable").len(), 0);
}

#[test]
fn restarted_account_comes_online_from_its_records() {
    let mut net = two_accounts();
    net.restart("alice");
    net.until("alice is online again", |net| net.state("alice") == AccountState::Online);
    net.send("alice", BOB, "back");
    net.settle();
    assert_eq!(received(&net, "bob"), ["back"]);
}

#[test]
fn a_second_companion_of_the_same_phone_sees_both_sides() {
    let mut net = two_accounts();
    net.linked("second", ALICE);
    net.send("alice", BOB, "from the first");
    net.settle();
    net.send("bob", ALICE, "to both");
    net.settle();
    let sent = net.events("second", "message.sent");
    assert_eq!(sent[0]["text"]["body"], "from the first");
    assert_eq!(received(&net, "second"), ["to both"]);
    assert_eq!(received(&net, "alice"), ["to both"]);
}

#[test]
fn message_to_an_unregistered_number_fails_with_the_reason() {
    let mut net = two_accounts();
    let id = net.send("alice", "15559999999", "anyone?");
    net.settle();
    let record = net.message("alice", &id);
    assert_eq!(record.status, MessageStatus::Failed);
    assert_eq!(record.failure.unwrap().0, "recipient_not_found");
}

fn to_bob(body: &str) -> SendRequest {
    let content = Content::Text(Text { body: body.into(), ..Text::default() });
    SendRequest { to: Jid::pn(BOB), recipients: Vec::new(), content }
}

/// The id of the accepted message.
fn accepted(reply: Reply) -> Result<MessageId, Repeated> {
    match reply {
        Reply::Answer(answer) => {
            Ok(answer.downcast::<Result<MessageRecord, SendError>>().expect("it is a message").unwrap().id)
        }
        Reply::Repeated(repeated) => Err(repeated),
    }
}

#[test]
fn an_unlinked_account_refuses_to_send() {
    let mut net = Net::new();
    net.account("alice");
    assert_eq!(net.try_send("alice", to_bob("x")), Err(SendError::NotLinked));
}

#[test]
fn the_same_idempotency_key_gives_one_message_and_another_body_is_refused() {
    let mut net = two_accounts();
    let mut send =
        |body| accepted(net.send_once("alice", to_bob("once"), RequestFingerprint { request: [1; 32], body }));
    let first = send([2; 32]);
    assert!(first.is_ok());
    assert_eq!(send([2; 32]), first);
    assert_eq!(send([3; 32]), Err(Repeated::OtherBody));
    net.settle();
    assert_eq!(received(&net, "bob"), ["once"]);
}

#[test]
fn full_queue_refuses_messages_and_keeps_accepted_ones() {
    let mut net = two_accounts();
    net.stop("alice");
    let mut accepted = 0;
    let refused = loop {
        match net.try_send("alice", to_bob("waiting")) {
            Ok(_) => accepted += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!((accepted, refused), (10_000, SendError::QueueFull));
    net.restart("alice");
    assert_eq!(net.try_send("alice", to_bob("waiting")), Err(SendError::QueueFull), "all of it was stored");
}

#[test]
fn idempotency_key_expires_after_a_day() {
    let mut net = two_accounts();
    let send = |net: &mut Net| {
        let fingerprint = RequestFingerprint { request: [1; 32], body: [2; 32] };
        accepted(net.send_once("alice", to_bob("daily"), fingerprint)).unwrap()
    };
    let first = send(&mut net);
    net.pass(Duration::from_secs(24 * 60 * 60 - 1));
    assert_eq!(send(&mut net), first);
    net.pass(Duration::from_secs(1));
    assert_ne!(send(&mut net), first);
}

#[test]
fn a_service_with_another_root_is_refused_and_no_code_is_shown() {
    let mut rng: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(9);
    let other = KeyPair::generate(&mut rng);
    let mut net = Net::new().trusting(|settings| settings.root_key = *other.public());
    net.account("alice");
    net.start("alice");
    net.until("the connection is refused", |net| net.state("alice") == AccountState::Reconnecting);
    let reason = net.accounts["alice"].local.router.view().reason.clone().unwrap();
    assert!(reason.contains("network.root_key"), "{reason}");
    assert_eq!(net.code("alice"), None);
}

#[test]
fn undecryptable_message_is_one_event_and_gets_a_retry_receipt() {
    let mut net = two_accounts();
    let stanza = |bytes: &[u8]| {
        Node::new("message")
            .attr("from", Jid::pn(BOB))
            .attr("id", "3EB0AA")
            .attr("t", "1760000000")
            .child(Node::new("enc").attr("v", "2").attr("type", "msg").bytes(bytes))
    };
    for copy in 0..7 {
        net.stanza("alice", stanza(&[0x33; 60]));
        net.settle();
        assert_eq!(net.events("alice", "message.undecryptable").len(), 1, "copy {copy}");
    }
    let asked = net.world.stanzas().filter(|log| log.stanza.contains("<retry ")).count();
    assert_eq!(asked, 5, "five retry receipts are sent");
}

/// The stanzas without parts that differ from run to run: ids, numbers, times.
fn story(net: &Net, device: &str) -> String {
    let mut lines = Vec::new();
    for log in net.world.stanzas().filter(|log| log.device.as_deref() == Some(device)) {
        let mut line = format!("{} {}", if log.direction == "received" { ">" } else { "<" }, log.stanza);
        for (name, number) in [("ALICE", ALICE), ("BOB", BOB)] {
            let lid = net.world.phone(number).unwrap().lid.replace("@lid", "");
            line = line.replace(&lid, &format!("{name}-LID")).replace(number, name);
        }
        for key in [" id=\"", " t=\"", " sid=\"", " ts=\"", " creation=\""] {
            let mut masked = String::new();
            for (at, part) in line.split(key).enumerate() {
                let named = part.split_once('"').filter(|(value, _)| value.len() > 2);
                match (at, named) {
                    (0, _) => masked.push_str(part),
                    (_, Some((_, rest))) => masked.push_str(&format!("{key}…\"{rest}")),
                    _ => masked.push_str(&format!("{key}{part}")),
                }
            }
            line = masked;
        }
        let key = "<key><id>[3 bytes]</id><value>[32 bytes]</value></key>";
        let lines_of_keys = line.matches(key).count();
        if lines_of_keys > 1 {
            line = line.replacen(key, &format!("{lines_of_keys} × KEY"), 1).replace(key, "");
        }
        // Padding makes lengths vary.
        for length in 100..300 {
            line = line.replace(&format!("[{length} bytes]"), "[… bytes]");
        }
        lines.push(line);
    }
    lines.join("\n")
}

#[test]
fn the_stanzas_of_a_login_and_a_first_message_are_the_golden_ones() {
    let mut net = Net::new();
    net.world.create_phone(BOB, Some("bob")).unwrap();
    net.linked("alice", ALICE);
    net.send("alice", BOB, "hello");
    net.settle();
    net.world.write_text(BOB, ALICE, "answer").unwrap();
    net.settle();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/conversation.txt");
    let story = story(&net, &format!("{ALICE}:1"));
    if std::env::var("WHARF_GOLDEN").is_ok_and(|mode| mode == "write") {
        std::fs::write(&path, format!("{story}\n")).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(story, golden.trim_end());
}

/// The id of the account's last request of this kind.
fn last_request(net: &Net, xmlns: &str) -> String {
    let xmlns = format!("xmlns=\"{xmlns}\"");
    let asked = net.world.stanzas().filter(|log| log.direction == "received" && log.stanza.contains(&xmlns));
    let stanza = &asked.last().expect("the service was asked").stanza;
    stanza.split("id=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

fn answer(id: String, content: Node) -> Node {
    Node::new("iq").attr("from", Jid::service()).attr("type", "result").attr("id", id).child(content)
}

#[test]
fn malformed_response_holds_no_message_back() {
    let mut net = two_accounts();
    let id = net.send("alice", BOB, "hello");
    let question = last_request(&net, "usync");
    net.stanza("alice", answer(question, Node::new("nonsense")));
    net.settle();
    assert_eq!(net.message("alice", &id).status, MessageStatus::Read);
}

#[test]
fn unusable_prekeys_are_fetched_once() {
    let mut net = two_accounts();
    let id = net.send("alice", BOB, "hello");
    let device_list =
        || Node::new("devices").child(Node::new("device-list").child(Node::new("device").attr("id", "0")));
    let users = [BOB, ALICE].map(|number| Node::new("user").attr("jid", Jid::pn(number)).child(device_list()));
    let question = last_request(&net, "usync");
    net.stanza("alice", answer(question, Node::new("usync").child(Node::new("list").children(users))));

    let mut rng: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(5);
    let identity = IdentityKeyPair::generate(&mut rng);
    let low_order = PublicKey::from_bytes([0; 32]);
    let signature = identity.sign(&low_order.typed(), &mut rng);
    let user = Node::new("user").attr("jid", Jid::pn(BOB)).children([
        Node::new("registration").bytes([0, 0, 0, 1]),
        Node::new("identity").bytes(*identity.public().0.as_bytes()),
        skey_node(SignedPreKeyId::FIRST, &low_order, &signature),
    ]);
    let question = last_request(&net, "encrypt");
    net.stanza("alice", answer(question, Node::new("list").child(user)));
    net.settle();
    let record = net.message("alice", &id);
    assert_eq!(record.failure.map(|(code, _)| code).as_deref(), Some("no_recipient_devices"));
}

#[test]
fn every_record_is_written_by_its_owner_alone() {
    let mut net = two_accounts();
    net.send("alice", BOB, "x");
    net.world.write_text(BOB, ALICE, "y").unwrap();
    net.settle();
    let writes = net.accounts["alice"].local.committed.iter().flat_map(|changes| &changes.writes);
    let mut seen = std::collections::BTreeSet::new();
    for write in writes {
        let owner = match write.kind {
            0x01 => "OwnDevice",
            0x02 => "Connection",
            0x03 | 0x04 | 0x0b | 0x0c => "Messages",
            0x05 => "Frame",
            0x0d | 0x0e => "Privacy",
            0x10..=0x17 => "SessionCipher",
            0x20..=0x27 => "DeviceSync",
            0x28..=0x2f => "PreKeys",
            other => panic!("an account wrote kind {other:#x}"),
        };
        assert_eq!(write.owner, owner, "{write:?}");
        seen.insert(owner);
    }
    assert_eq!(seen.len(), 8, "every owner has written something: {seen:?}");
}

#[test]
fn signed_prekey_is_rotated_after_27_days_and_new_sessions_use_the_new_one() {
    let mut net = two_accounts();
    for name in ["alice", "bob"] {
        net.stop(name);
    }
    net.pass(Duration::from_secs(28 * 24 * 60 * 60));
    for name in ["alice", "bob"] {
        net.start(name);
    }
    let online = |net: &Net| ["alice", "bob"].map(|name| net.state(name)) == [AccountState::Online; 2];
    net.until("both are online", online);
    net.settle();
    net.pass(Duration::from_secs(120));
    let alice = format!("{ALICE}:1");
    let of_alice = net.world.stanzas().filter(|log| log.device.as_deref() == Some(&alice));
    assert_eq!(of_alice.filter(|log| log.stanza.contains("<rotate><skey>")).count(), 1);

    net.send("bob", ALICE, "to the new key");
    net.settle();
    assert_eq!(received(&net, "alice"), ["to the new key"]);
}

#[test]
fn skipped_poison_stanza_is_acknowledged_even_if_malformed() {
    let mut net = two_accounts();
    net.poison("alice", Node::new("message").attr("from", Jid::pn(BOB)).attr("type", "text"));
    net.settle();
    assert_eq!(net.events("alice", "message.undecryptable").len(), 1);
    assert_eq!(net.state("alice"), AccountState::Online);
}

#[test]
fn messages_to_one_contact_keep_their_order_across_phone_number_and_lid() {
    let mut net = two_accounts();
    net.send("alice", BOB, "0");
    net.settle();
    let lid = net.world.phone(BOB).unwrap().lid;
    net.stanza("alice", Node::new("notification").attr("type", "devices").attr("id", "9").attr("from", Jid::pn(BOB)));
    net.send("alice", BOB, "1");
    let asked = net.world.stanzas().filter(|log| log.stanza.contains("xmlns=\"usync\"")).last().unwrap();
    let id = asked.stanza.split_once(" id=\"").unwrap().1.split('"').next().unwrap().to_owned();
    net.send("alice", &lid, "2");
    // The first message is held up: its lookup gets no response.
    net.stanza("alice", Node::new("iq").attr("type", "error").attr("id", id));
    net.settle();
    assert_eq!(received(&net, "bob"), ["0", "1", "2"]);
}

#[test]
fn session_stored_under_the_phone_number_decrypts_the_first_message() {
    let mut net = two_accounts();
    net.world.write_text(BOB, ALICE, "before").unwrap();
    net.settle();
    let lid = net.world.phone(BOB).unwrap().lid.replace("@lid", "");
    let (old, new) = (format!("{lid}@lid.0"), format!("{BOB}@c.us.0"));
    let rename = |key: Vec<u8>| {
        let (head, name) = key.split_at(17);
        match name.strip_prefix(old.as_bytes()) {
            Some(rest) => [head, new.as_bytes(), rest].concat(),
            None => key,
        }
    };
    let left = net.backup("alice").into_iter().map(|(key, value)| (rename(key), value)).collect();
    net.start_copy("alice", left);
    net.settle();
    net.world.write_text(BOB, ALICE, "after").unwrap();
    net.settle();
    assert_eq!(received(&net, "alice"), ["after"]);
    assert!(net.events("alice", "message.undecryptable").is_empty());
    net.restart("alice");
    net.settle();
    net.world.write_text(BOB, ALICE, "later").unwrap();
    net.settle();
    assert_eq!(received(&net, "alice"), ["later"]);
}
