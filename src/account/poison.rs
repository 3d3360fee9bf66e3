//! Stanzas that bring the account down. The service delivers what is not acknowledged again at every connection, so one that
//! panics would do so for ever: it is counted outside its turn, and after the second time it is set aside, as
//! `message.undecryptable` with its bytes, and acknowledged (`architecture.md`, "Supervision").

use crate::account::error::AccountError;
use crate::account::router::{Router, Turn};
use crate::base::time::Timestamp;
use crate::storage::{AccountStore, ChangeSet, StorageError, kind, owner};
use crate::wire::{Node, encode_node};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

const FORMAT: u8 = 2;
/// So often a stanza may bring the account down.
const TOLERATED: u8 = 2;
/// Of a longer stanza the event has this many bytes.
const MAX_BYTES: usize = 64 * 1024;

/// What tells one stanza from another, however often it is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StanzaPrint([u8; 16]);

impl StanzaPrint {
    /// None for stanzas that are not delivered again.
    pub fn of(node: &Node) -> Option<Self> {
        if !matches!(node.tag.as_ref(), "message" | "receipt" | "notification") {
            return None;
        }
        let mut hash = Sha256::new();
        // A second delivery may bear another time and the mark of an offline one, but these.
        for part in [Some(node.tag.clone()), node.text("from"), node.text("participant"), node.text("id")] {
            let part = part.unwrap_or_default();
            hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        for enc in node.all("enc") {
            hash.update(Sha256::digest(enc.content_bytes()));
        }
        let mut short = [0; 16];
        short.copy_from_slice(&hash.finalize()[..16]);
        Some(Self(short))
    }
}

/// How often which stanza has brought the account down.
#[derive(Debug, Default)]
pub struct Poison(HashMap<StanzaPrint, u8>);

impl Poison {
    pub fn load(store: &AccountStore) -> Result<Self, StorageError> {
        let rows = store.scan(kind::POISON, b"")?;
        let counted = rows.into_iter().filter_map(|(key, value)| {
            Some((StanzaPrint(key.try_into().ok()?), value.get(1).copied().unwrap_or_default()))
        });
        Ok(Self(counted.collect()))
    }

    /// Whether the stanza is set aside.
    pub fn has(&self, print: StanzaPrint) -> bool {
        self.0.get(&print).is_some_and(|count| *count >= TOLERATED)
    }

    /// Counts one more time: to be committed before the account is loaded anew.
    pub fn count(&mut self, print: StanzaPrint, now: Timestamp) -> ChangeSet<owner::Router> {
        let count = self.0.entry(print).or_default();
        *count = count.saturating_add(1);
        let mut writes = ChangeSet::default();
        writes.put(kind::POISON, print.0, [&[FORMAT, *count], &now.0.to_be_bytes()[..]].concat());
        writes
    }
}

impl Router {
    /// Acknowledges a stanza without looking into it. Asks no child: any of them may be what it brings down.
    pub(in crate::account) fn set_aside<C>(&mut self, turn: &mut Turn<'_, C>, node: &Node) -> Result<(), AccountError> {
        tracing::error!(account = %self.id, stanza = %node.tag, "a stanza has brought the account down twice, and is set aside");
        if node.tag == "message" && self.note_as_unreadable(turn, node)? {
            let bytes = encode_node(node);
            let chat = node.jid("from").map(|from| from.bare().to_string()).unwrap_or_default();
            let data = json!({
                "id": node.text("id"),
                "chat": chat,
                "from": node.jid("participant").map_or(chat.clone(), |sender| sender.bare().to_string()),
                "reason": "it has brought the account down twice",
                "stanza": STANDARD.encode(&bytes[..bytes.len().min(MAX_BYTES)]),
                "size": bytes.len(),
            });
            self.event(turn, "message.undecryptable", &chat, &data);
        }
        self.acknowledge(turn, node);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::AccountKey;
    use crate::storage::{Changes, MemoryEngine, Overlay, Records};
    use std::sync::Arc;

    fn message(id: &'static str, text: u8) -> Node {
        let enc = Node::new("enc").attr("type", "msg").bytes(vec![text; 8]);
        Node::new("message").attr("from", "1@s.whatsapp.net").attr("id", id).child(enc)
    }

    #[test]
    fn a_stanza_is_known_again_whenever_it_is_delivered() {
        let print = |node: &Node| StanzaPrint::of(node);
        assert_eq!(print(&message("A", 1)), print(&message("A", 1).attr("offline", "1").attr("t", "99")));
        assert_ne!(print(&message("A", 1)), print(&message("B", 1)));
        assert_ne!(print(&message("A", 1)), print(&message("A", 2)));
        assert_eq!(print(&Node::new("iq").attr("id", "A")), None, "an answer is not delivered again");
    }

    #[test]
    fn the_count_survives_a_restart_and_the_second_time_is_the_last() {
        let overlay = Overlay::default();
        let records = Records::new(Arc::new(MemoryEngine::default()));
        let store = AccountStore::new(records, AccountKey::from_bytes([1; 16]), overlay.clone());
        let print = StanzaPrint::of(&message("A", 1)).unwrap();
        for expected in [false, true] {
            let mut poison = Poison::load(&store).unwrap();
            let mut changes = Changes::default();
            changes.absorb(poison.count(print, Timestamp(1)));
            overlay.pin(1, &changes);
            assert_eq!(Poison::load(&store).unwrap().has(print), expected);
        }
        assert!(!Poison::load(&store).unwrap().has(StanzaPrint::of(&message("B", 1)).unwrap()));
    }
}
