//! Ciphertexts at the service: one (sender, recipient, ratchet key, counter) is one byte string for ever, and so is one (sender, sender
//! key, iteration) in a group.

use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use wharf::signal::{PreKeySignalMessage, SenderKeyMessage, SignalMessage};
use wharf::wire::Node;

type Place = (String, String, [u8; 32], u32);

#[derive(Default)]
pub struct Ledger {
    seen: HashMap<Place, [u8; 32]>,
    /// Ciphertexts that came more than once, the same bytes each time.
    pub repeated: usize,
    pub violations: Vec<String>,
}

impl Ledger {
    /// A tap that fills this ledger.
    pub fn tap(ledger: &Arc<Mutex<Self>>) -> wharf::sandbox::world::Tap {
        let ledger = ledger.clone();
        Box::new(move |device, node| ledger.lock().unwrap().note(device, node))
    }

    fn note(&mut self, device: &str, node: &Node) {
        if node.tag != "message" {
            return;
        }
        for to in node.find("participants").into_iter().flat_map(|all| all.all("to")) {
            let recipient = to.text("jid").unwrap_or_default().into_owned();
            for enc in to.all("enc") {
                self.note_ciphertext(device, &recipient, enc);
            }
        }
        let group = node.text("to").unwrap_or_default();
        for enc in node.all("enc") {
            if enc.is("type", "skmsg") {
                self.note_shared(device, &group, enc);
            } else {
                let one = node.text("participant").unwrap_or(group.clone());
                self.note_ciphertext(device, &one, enc);
            }
        }
    }

    fn note_shared(&mut self, sender: &str, group: &str, enc: &Node) {
        match SenderKeyMessage::parse(enc.content_bytes()) {
            Ok(message) => {
                let place = (sender.to_owned(), format!("{group} {}", message.chain_id.0), [0; 32], message.iteration);
                self.note_place(place, enc.content_bytes());
            }
            Err(_) => self.violations.push(format!("{sender} wrote to {group} what no phone can parse")),
        }
    }

    fn note_ciphertext(&mut self, sender: &str, recipient: &str, enc: &Node) {
        let bytes = enc.content_bytes();
        let message = match enc.text("type").as_deref() {
            Some("pkmsg") => PreKeySignalMessage::parse(bytes).map(|message| message.message),
            _ => SignalMessage::parse(bytes),
        };
        let Ok(message) = message else {
            self.violations.push(format!("{sender} wrote to {recipient} what no phone can parse"));
            return;
        };
        let place = (sender.to_owned(), recipient.to_owned(), *message.ratchet_key().as_bytes(), message.counter());
        self.note_place(place, bytes);
    }

    fn note_place(&mut self, place: Place, bytes: &[u8]) {
        let hash: [u8; 32] = Sha256::digest(bytes).into();
        match self.seen.get(&place) {
            Some(before) if *before == hash => self.repeated += 1,
            Some(_) => {
                let (sender, recipient, _, number) = place;
                self.violations
                    .push(format!("{sender} has used key {number} of a chain to {recipient} for two ciphertexts"));
            }
            None => drop(self.seen.insert(place, hash)),
        }
    }

    pub fn ciphertexts(&self) -> usize {
        self.seen.len()
    }
}
