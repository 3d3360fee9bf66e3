//! Restore of a backup that is older than the state of its peers.

use crate::net::Net;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use wharf::account::commands::MessageStatus;
use wharf::signal::{PreKeySignalMessage, SignalMessage};
use wharf::wire::Node;

const ALICE: &str = "15550001111";
const BOB: &str = "15550002222";
const CAROL: &str = "15550003333";

/// Every message key that was used on the wire, with the number of different ciphertexts under it.
#[derive(Default)]
struct UsedKeys(HashMap<Place, HashSet<Vec<u8>>>);

/// Sender, recipient, ratchet key, counter.
type Place = (String, String, [u8; 32], u32);

impl UsedKeys {
    fn watch(net: &mut Net) -> Arc<Mutex<Self>> {
        let used = Arc::new(Mutex::new(Self::default()));
        let seen = used.clone();
        net.world.tap(Box::new(move |device, node| seen.lock().unwrap().note(device, node)));
        used
    }

    fn note(&mut self, device: &str, node: &Node) {
        for to in node.find("participants").into_iter().flat_map(|all| all.all("to")) {
            for enc in to.all("enc") {
                let bytes = enc.content_bytes().to_vec();
                let message = match enc.is("type", "pkmsg") {
                    true => PreKeySignalMessage::parse(&bytes).unwrap().message,
                    false => SignalMessage::parse(&bytes[..]).unwrap(),
                };
                let to = to.text("jid").unwrap().into_owned();
                let place = (device.to_owned(), to, *message.ratchet_key().as_bytes(), message.counter());
                self.0.entry(place).or_default().insert(bytes);
            }
        }
    }

    fn used_twice(&self) -> usize {
        self.0.values().filter(|ciphertexts| ciphertexts.len() > 1).count()
    }
}

fn bodies(net: &Net, name: &str) -> Vec<String> {
    let events = net.events(name, "message.received");
    events.iter().map(|data| data["text"]["body"].as_str().unwrap().to_owned()).collect()
}

fn read_by(net: &Net, number: &str) -> Vec<String> {
    net.world.phone_messages(number).unwrap().iter().filter_map(|message| message.text.clone()).collect()
}

/// Alice talks with Bob's account and Carol's phone before the backup and after it.
fn moved_on() -> (Net, wharf::storage::Rows, Arc<Mutex<UsedKeys>>) {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.linked("bob", BOB);
    net.world.create_phone(CAROL, None).unwrap();
    let used = UsedKeys::watch(&mut net);
    let talk = |net: &mut Net, text: &str| {
        net.send("alice", BOB, text);
        net.send("alice", CAROL, text);
        net.settle();
        net.send("bob", ALICE, text);
        net.world.write_text(CAROL, ALICE, text).unwrap();
        net.settle();
    };
    talk(&mut net, "1");
    talk(&mut net, "2");
    let backup = net.backup("alice");
    talk(&mut net, "3");
    net.send("alice", BOB, "4");
    net.send("alice", CAROL, "4");
    net.settle();
    (net, backup, used)
}

#[test]
fn after_a_restore_no_message_key_is_used_twice_and_peers_decrypt_new_messages() {
    let (mut net, backup, used) = moved_on();
    net.restore("alice", backup);
    net.settle();
    for text in ["5", "6"] {
        net.send("alice", BOB, text);
        net.send("alice", CAROL, text);
        net.settle();
    }
    assert_eq!(used.lock().unwrap().used_twice(), 0);
    assert_eq!(read_by(&net, CAROL)[2..], ["3", "4", "5", "6"]);
    assert_eq!(bodies(&net, "bob")[2..], ["3", "4", "5", "6"]);
    // They reply in the new sessions.
    net.send("bob", ALICE, "welcome back");
    net.world.write_text(CAROL, ALICE, "welcome back").unwrap();
    net.settle();
    assert_eq!(bodies(&net, "alice").iter().filter(|body| *body == "welcome back").count(), 2);
}

/// Counter-check of the test above: without the preparation of a restore the old chains are used again.
#[test]
fn a_copy_started_without_preparation_would_use_message_keys_twice() {
    let (mut net, backup, used) = moved_on();
    net.start_copy("alice", backup);
    net.settle();
    net.send("alice", BOB, "5");
    net.send("alice", CAROL, "5");
    net.settle();
    assert!(used.lock().unwrap().used_twice() > 0);
}

#[test]
fn queued_messages_of_a_restored_backup_fail_with_outcome_unknown() {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    net.world.create_phone(CAROL, None).unwrap();
    net.stop("alice");
    let id = net.send("alice", CAROL, "once");
    let backup = net.backup("alice");
    net.start("alice");
    net.settle();
    assert_eq!(read_by(&net, CAROL), ["once"]);

    net.restore("alice", backup);
    net.start("alice");
    net.settle();
    let message = net.message("alice", &id);
    assert_eq!((message.status, message.failure.unwrap().0.as_str()), (MessageStatus::Failed, "outcome_unknown"));
    assert_eq!(net.world.phone_messages(CAROL).unwrap()[0].copies, 1);
    assert_eq!(net.events("alice", "message.status")[0]["code"], "outcome_unknown");
}

/// The ids of the prekeys in an upload.
fn ids(upload: &Node) -> Vec<u32> {
    let list = upload.find("list").unwrap();
    let number = |id: &Node| id.content_bytes().iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
    list.all("key").map(|key| number(key.find("id").unwrap())).collect()
}

#[test]
fn prekeys_are_replaced_once_with_ids_above_all_that_the_service_lists() {
    let mut net = Net::new();
    net.linked("alice", ALICE);
    let backup = net.backup("alice");
    let uploads = Arc::new(Mutex::new(Vec::new()));
    let seen = uploads.clone();
    net.world.tap(Box::new(move |_, node| {
        if node.find("list").is_some() && node.find("skey").is_some() {
            seen.lock().unwrap().push(node.clone());
        }
    }));
    // Thirty-six of her forty prekeys are consumed, and others uploaded, whose secrets the backup lacks.
    for person in 0..36 {
        let number = format!("1555000{:04}", 4000 + person);
        net.world.create_phone(&number, None).unwrap();
        net.world.write_text(&number, ALICE, "hello").unwrap();
    }
    net.settle();
    net.cut("alice");
    net.restart("alice");
    net.settle();
    let before = std::mem::take(&mut *uploads.lock().unwrap());
    assert!(!before.is_empty(), "prekeys were uploaded after the backup");

    net.restore("alice", backup);
    net.settle();
    let after = std::mem::take(&mut *uploads.lock().unwrap());
    assert_eq!(after.len(), 1);
    let highest = before.iter().flat_map(ids).max().unwrap();
    assert!(ids(&after[0]).iter().all(|id| *id > highest), "{:?} above {highest}", ids(&after[0]));
    let signed = |upload: &Node| upload.find("skey").unwrap().find("id").unwrap().content_bytes().to_vec();
    assert!(signed(&after[0]) > signed(before.last().unwrap()), "the signed prekey is a new one");

    net.restart("alice");
    net.settle();
    assert!(uploads.lock().unwrap().is_empty(), "once");
    net.world.create_phone(CAROL, None).unwrap();
    net.world.write_text(CAROL, ALICE, "to the new prekeys").unwrap();
    net.settle();
}
